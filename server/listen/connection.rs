//! One client's connection: it closes itself if no request comes in time, and tells what is known of the other end.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::{incoming::Place, os};
use crate::{caller::Caller, group::Memberships};

/// The other end of a connection. In the extensions of every request; clones belong to the same connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub source: Source,
    /// The isolation groups that the connection belongs to; they end when it does.
    pub memberships: Memberships,
    request_seen: Arc<AtomicBool>,
}

impl Peer {
    /// Tells the connection that a request has come whose caller is known: from now on it may idle. Cheap enough for every request.
    pub fn request_seen(&self) {
        self.request_seen.store(true, Ordering::Relaxed);
    }
}

/// What a connection by itself says about who is there.
#[derive(Debug, Clone)]
pub enum Source {
    /// A process on the Unix socket.
    Local(Caller),
    /// Somebody on the TCP port.
    Tcp {
        /// Number of the connection, counted from 1 in this run of the broker.
        connection: u64,
        /// The other end.
        client: SocketAddr,
        /// Our end.
        server: SocketAddr,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(caller) => caller.fmt(formatter),
            Self::Tcp { connection, client, .. } => write!(formatter, "connection {connection} from {client}"),
        }
    }
}

/// The bytes of a client on either listener.
pub(super) type ByteStream = Either<os::Stream, TcpStream>;

/// The byte stream of one client. Occupies a place among the connections until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: ByteStream,
    peer: Peer,
    /// When it is closed; `None` once a request was seen.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    pub(super) fn new(stream: ByteStream, source: Source, first_request_timeout: Duration, place: Place) -> Self {
        Self {
            stream,
            peer: Peer { source, memberships: Memberships::default(), request_seen: Arc::default() },
            deadline: Some(Box::pin(tokio::time::sleep(first_request_timeout))),
            _place: place,
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if self.peer.request_seen.load(Ordering::Relaxed) {
            self.deadline = None;
        } else if deadline.as_mut().poll(context).is_ready() {
            tracing::debug!(source = %self.peer.source, "closed: no request came in time");
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_deadline(context)?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
