//! One client's connection: it closes itself if no request comes in time, and tells what is known of the other end.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_util::{either::Either, sync::WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{incoming::Place, os, places::Standing};
use crate::{
    caller::{Caller, Principal},
    group::Memberships,
};

/// The other end of a connection. In the extensions of every request; clones belong to the same connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub source: Source,
    /// The isolation groups that the connection belongs to; they end when it does.
    pub memberships: Memberships,
    standing: Standing,
    /// How many calls are open.
    calls: Arc<AtomicUsize>,
}

impl Peer {
    /// Counts a call that begins; `None` if `limit` are open already.
    pub fn begin_call(&self, limit: usize) -> Option<CallGuard> {
        let guard = CallGuard(Arc::clone(&self.calls));
        (guard.0.fetch_add(1, Ordering::Relaxed) < limit).then_some(guard)
    }

    /// Tells the connection that a request has come whose caller is known: from now on it may idle. Cheap enough for every request.
    pub fn request_seen(&self) {
        self.standing.note_request();
    }
}

/// An open call of a connection, counted until this is dropped.
#[derive(Debug)]
pub struct CallGuard(Arc<AtomicUsize>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

impl Source {
    /// Number of the connection.
    pub(super) fn connection(&self) -> u64 {
        match self {
            Self::Local(caller) => caller.connection,
            Self::Tcp { connection, .. } => *connection,
        }
    }

    /// Who is responsible; `None` where only requests tell.
    pub(super) fn principal(&self) -> Option<Principal> {
        match self {
            Self::Local(caller) => Some(caller.principal()),
            Self::Tcp { .. } => None,
        }
    }
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
    /// `None` once a request was seen.
    probation: Option<Probation>,
    _place: Place,
}

/// What closes a connection that has sent no request yet.
#[derive(Debug)]
struct Probation {
    deadline: Pin<Box<Sleep>>,
    ousted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    pub(super) fn new(stream: ByteStream, source: Source, first_request_timeout: Duration, place: Place) -> Self {
        let standing = place.standing();
        let probation = Probation {
            deadline: Box::pin(tokio::time::sleep(first_request_timeout)),
            ousted: Box::pin(standing.ousted.clone().cancelled_owned()),
        };
        Self {
            stream,
            peer: Peer { source, memberships: Memberships::default(), standing, calls: Arc::default() },
            probation: Some(probation),
            _place: place,
        }
    }

    /// Asked before each read and write: a client that reads nothing may stop the reading here, too.
    fn poll_probation(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(probation) = &mut self.probation else { return Ok(()) };
        if !self.peer.standing.is_on_probation() {
            self.probation = None;
        } else if probation.deadline.as_mut().poll(context).is_ready() {
            tracing::debug!(source = %self.peer.source, "closed: no request came in time");
            return Err(io::ErrorKind::TimedOut.into());
        } else if probation.ousted.as_mut().poll(context).is_ready() {
            tracing::debug!(source = %self.peer.source, "closed: no request has come, and another client needs the place");
            return Err(io::ErrorKind::ConnectionAborted.into());
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
        this.poll_probation(context)?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_probation(context)?;
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_probation(context)?;
        Pin::new(&mut this.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_probation(context)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
