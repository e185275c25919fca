//! The bytes of one connection: requests in, answers out.

use std::{io, time::Duration};

use cardbroker_core::pcsclite::wire::{self, Malformed, Message, Parsed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};
use zeroize::{Zeroize, Zeroizing};

use crate::listen::LocalStream;

/// The time for the rest of a request, and for the client to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first room for requests. Most have fewer bytes.
const ROOM: usize = 512;

/// The client's end of the conversation.
pub(super) struct Input {
    stream: LocalStream,
    /// The bytes that have come and are not yet a whole request. They may have a PIN, and are wiped wherever they were.
    buffer: Zeroizing<Vec<u8>>,
    /// The time by which the request that has begun must be whole; `None` between requests.
    request_deadline: Option<Instant>,
}

/// The reason for the end of a conversation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The client has closed the connection, or takes no answers.
    #[error("the client has gone")]
    Gone,
    /// The client has not sent the rest of a request in time, or has not established its context.
    #[error("the client is too slow")]
    TooSlow,
    /// The client has released its context, and has not established another one in time. That is no mistake.
    #[error("the client has no context any more")]
    Unused,
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
        Self { stream, buffer: Zeroizing::new(Vec::with_capacity(ROOM)), request_deadline: None }
    }

    /// Reads the next request. Cancel-safe: what has come is kept.
    pub(super) async fn next(&mut self) -> Result<Box<Message>, Ended> {
        loop {
            match wire::parse(&self.buffer)? {
                Parsed::Whole(message, length) => {
                    consume(&mut self.buffer, length);
                    self.request_deadline = None;
                    return Ok(message);
                }
                Parsed::Missing(more) => {
                    reserve(&mut self.buffer, more);
                    // A client may be silent for any time, but not in the middle of a request.
                    let read = if self.buffer.is_empty() {
                        self.stream.read_buf(&mut *self.buffer).await?
                    } else {
                        let by = *self.request_deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                        let read = self.stream.read_buf(&mut *self.buffer);
                        timeout_at(by, read).await.map_err(|_| Ended::TooSlow)??
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
            match self.stream.read_buf(&mut *self.buffer).await {
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

/// Makes room for so many bytes more. The bytes move only into new memory, and the old one is wiped.
fn reserve(buffer: &mut Zeroizing<Vec<u8>>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        let mut longer = Zeroizing::new(Vec::with_capacity(buffer.len() + more));
        longer.extend_from_slice(buffer);
        *buffer = longer;
    }
}

/// Removes the first bytes. The others begin where those began, and the memory behind them is wiped.
fn consume(buffer: &mut Zeroizing<Vec<u8>>, length: usize) {
    let left = buffer.len().saturating_sub(length);
    buffer.copy_within(length.., 0);
    buffer[left..].zeroize();
    buffer.truncate(left);
    if buffer.capacity() > ROOM && left <= ROOM {
        let mut shorter = Zeroizing::new(Vec::with_capacity(ROOM));
        shorter.extend_from_slice(buffer);
        *buffer = shorter;
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    /// The memory of the buffer, with the bytes behind its length.
    #[cfg(target_os = "linux")]
    fn memory(input: &Input) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let mut memory = vec![0; input.buffer.capacity()];
        let own = std::fs::File::open("/proc/self/mem").unwrap();
        own.read_exact_at(&mut memory, input.buffer.as_ptr() as u64).unwrap();
        memory
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn no_part_of_a_pin_stays_in_the_buffer() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut input = Input::new(here);
        // New memory has bytes of others in it.
        input.buffer.resize(ROOM, 0);
        input.buffer.clear();
        let pin = b"\x00\x20\x00\x80\x0812345678";
        let words = [32_u32, 0x09, 7, 2, 8, 13, 3, 16, 258, 0];
        let request: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).chain(pin.iter().copied()).collect();
        for cut in 0..request.len() {
            there.write_all(&request[..cut]).await.unwrap();
            assert!(timeout(Duration::from_millis(1), input.next()).await.is_err(), "it is not whole yet");
            // The next request follows at once.
            there.write_all(&request[cut..]).await.unwrap();
            there.write_all(&request[..cut]).await.unwrap();
            input.next().await.unwrap();
            there.write_all(&request[cut..]).await.unwrap();
            input.next().await.unwrap();
            assert!(input.buffer.is_empty());
            assert_eq!(memory(&input).iter().filter(|byte| **byte != 0).count(), 0, "cut at {cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_whole_in_time_however_often_a_byte_comes() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut input = Input::new(here);
        let began = Instant::now();
        let drip = async {
            loop {
                there.write_all(&[0]).await.unwrap();
                tokio::time::sleep(PATIENCE / 4).await;
            }
        };
        let ended = async {
            loop {
                // The wait for a request begins anew whenever something else has happened.
                if let Ok(Err(ended)) = timeout(PATIENCE / 8, input.next()).await {
                    return ended;
                }
            }
        };
        let ended = tokio::select! { ended = ended => ended, () = drip => unreachable!() };
        assert!(matches!(ended, Ended::TooSlow) && began.elapsed() < PATIENCE * 2, "{ended}");
    }

    #[tokio::test]
    async fn a_long_request_moves_to_a_longer_buffer_and_back() {
        let mut buffer = Zeroizing::new(vec![7; ROOM]);
        reserve(&mut buffer, 60_000);
        assert!(buffer.capacity() >= ROOM + 60_000 && *buffer == [7; ROOM]);
        buffer.extend_from_slice(&[8; 100]);
        consume(&mut buffer, ROOM);
        assert!(buffer.capacity() < 60_000 && *buffer == [8; 100]);
    }

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
