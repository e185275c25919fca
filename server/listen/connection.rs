//! One client's connection: it closes itself if no request comes in time, and identifies its client to requests.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tokio_util::{either::Either, sync::WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{
    budgets::Budgets,
    checks::ConnectionChecks,
    occupancy::ConnectionSlot,
    os,
    pace::Pace,
    peer::{MessageBytes, Peer, Source},
    tcp,
};
use crate::caller::group::Memberships;

/// The bytes of a client on either listener.
pub(super) type ByteStream = Either<os::Stream, tcp::Stream>;

/// The byte stream of one client. Occupies a connection slot until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: ByteStream,
    peer: Peer,
    /// `None` once a request was received.
    probation: Option<Probation>,
    pace: Pace,
    _place: ConnectionSlot,
}

/// The deadline and the eviction that close a connection without a request.
#[derive(Debug)]
struct Probation {
    deadline: Pin<Box<Sleep>>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    pub(super) fn new(
        stream: ByteStream,
        source: Source,
        first_request_timeout: Duration,
        place: ConnectionSlot,
        budgets: Budgets,
    ) -> Self {
        let status = place.status();
        let probation = Probation {
            deadline: Box::pin(tokio::time::sleep(first_request_timeout)),
            evicted: Box::pin(status.evicted.clone().cancelled_owned()),
        };
        let (span, account) = (source.span(), Arc::new(Mutex::new(source.account())));
        let peer = Peer {
            source,
            memberships: Memberships::default(),
            span,
            status,
            budgets,
            account,
            refused: Arc::default(),
            without_rights: Arc::default(),
            checks: ConnectionChecks::default(),
            calls: Arc::default(),
            begun: Arc::default(),
            message_bytes: MessageBytes::default(),
        };
        let pace = Pace::new(&peer);
        Self { stream, peer, probation: Some(probation), pace, _place: place }
    }

    /// Fails when the probation is over. Called before reads and writes, because a client that reads nothing also stops
    /// the broker's reads.
    fn poll_probation(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(probation) = &mut self.probation else { return Ok(()) };
        if !self.peer.status.is_on_probation() {
            self.probation = None;
        } else if probation.deadline.as_mut().poll(context).is_ready() {
            tracing::debug!(source = %self.peer.source, "connection closed: no request arrived in time");
            return Err(io::ErrorKind::TimedOut.into());
        } else if probation.evicted.as_mut().poll(context).is_ready() {
            let source = &self.peer.source;
            tracing::debug!(%source, "connection closed: no request arrived, and another client needs the slot");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Reads at most `limit` bytes.
    fn poll_some(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if limit >= buffer.remaining() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            return Poll::Ready(Ok(buffer.filled().len() - before));
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(read))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.charge_end();
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
        let limit = ready!(this.pace.poll_limit(&this.peer, context))?;
        let read = ready!(this.poll_some(context, buffer, limit))?;
        this.pace.on_read(&this.peer, limit, read);
        Poll::Ready(Ok(()))
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
