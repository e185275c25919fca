//! The bytes of one connection: requests in, answers out.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use cardbroker_core::pcsclite::wire::{self, Malformed, Message, Parsed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use zeroize::Zeroize;

use crate::listen::LocalStream;

/// The time for the rest of a request, and for the client to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first room for requests. Most have fewer bytes.
const ROOM: usize = 512;

/// The client's end of the conversation.
pub(super) struct Input {
    stream: LocalStream,
    /// The bytes that have come and are not yet a whole request.
    buffer: BytesMut,
}

/// The reason for the end of a conversation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The client has closed the connection, or takes no answers.
    #[error("the client has gone")]
    Gone,
    /// The client does not speak the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client names a context or a handle that is not its own, or sends requests out of order.
    #[error("the client names a handle or a context of another")]
    Foreign,
    /// The connection has failed in the system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The door closes and drops its connections, as all doors do when the broker stops.
    #[error("the door closes")]
    Stopping,
}

impl Input {
    pub(super) fn new(stream: LocalStream) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(ROOM) }
    }

    /// Reads the next request. Cancel-safe: what has come is kept.
    pub(super) async fn next(&mut self) -> Result<Box<Message>, Ended> {
        loop {
            match wire::parse(&self.buffer)? {
                Parsed::Whole(message, length) => {
                    // It may have a PIN, and the room is used again only with the next request.
                    self.buffer[..length].zeroize();
                    self.buffer.advance(length);
                    return Ok(message);
                }
                Parsed::Missing(more) => {
                    self.buffer.reserve(more);
                    // A client may be silent for any time, but not in the middle of a request.
                    let is_between = self.buffer.is_empty();
                    let read = self.stream.read_buf(&mut self.buffer);
                    let read = match is_between {
                        true => read.await?,
                        false => timeout(PATIENCE, read).await.map_err(|_| Ended::Gone)??,
                    };
                    if read == 0 {
                        return Err(Ended::Gone);
                    }
                }
            }
        }
    }

    /// Waits until the client has closed the connection. Clients send nothing before they have an answer: one that does
    /// is read later. Cancel-safe.
    pub(super) async fn gone(&mut self) -> Ended {
        loop {
            if self.buffer.len() >= ROOM {
                return std::future::pending().await;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ended::Gone,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Sends an answer to the client.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        // Nearly always there is room for the answer, and no timer is needed.
        let sent = match self.stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        if sent < bytes.len() {
            timeout(PATIENCE, self.stream.write_all(&bytes[sent..])).await.map_err(|_| Ended::Gone)??;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn an_answer_without_room_follows_piece_by_piece() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut input = Input::new(here);
        // Longer than the room in a socket.
        let answer: Vec<u8> = (0..4_000_000_u32).map(|index| (index % 251) as u8).collect();
        let mut taken = vec![0; answer.len()];
        let (sent, read) = tokio::join!(input.send(&answer), there.read_exact(&mut taken));
        sent.unwrap();
        read.unwrap();
        assert!(taken == answer, "the bytes are in order");
        drop(there);
        assert!(input.send(&answer).await.is_err());
    }
}
