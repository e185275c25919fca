//! One client's connection: it closes itself if no request comes in time, and identifies its client to requests.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use cardbroker_core::budget::Tokens;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tokio_util::{either::Either, sync::WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{
    budgets::{Budgets, BurstGuard},
    burst::{Burst, LONG_READING_BYTES, SHORT_READING_BYTES},
    occupancy::ConnectionSlot,
    os,
    peer::{Peer, Source},
    tcp,
};
use crate::caller::group::Memberships;

/// The bytes of a client on either listener.
pub(super) type ByteStream = Either<os::Stream, tcp::Stream>;

/// The bytes that are read for each token that is left: less than the shortest request that can be refused needs.
const BYTES_PER_TOKEN: usize = 32;

/// The time for the answers to the last bad tokens, before the connection is closed.
const LAST_ANSWERS_TIME: Duration = Duration::from_millis(500);

/// The byte stream of one client. Occupies a connection slot until it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: ByteStream,
    peer: Peer,
    /// `None` once a request was received.
    probation: Option<Probation>,
    reading: Reading,
    burst: Burst,
    /// Counts the connection while it bursts.
    bursting: Option<BurstGuard>,
    /// Resolves when the client has presented too many bad tokens; `None` on the local socket.
    distrusted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _place: ConnectionSlot,
}

/// The deadline and the eviction that close a connection without a request.
#[derive(Debug)]
struct Probation {
    deadline: Pin<Box<Sleep>>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Whether the connection may be read, by its user's budget for refused requests.
#[derive(Debug)]
enum Reading {
    /// As far as the user has tokens.
    Free,
    /// Not before this time, because its user has no tokens.
    Paused(Pin<Box<Sleep>>),
    /// A little, after a pause. So even a user without tokens gets its answers to pings, and its half-closed and dead
    /// connections are noticed.
    Short,
    /// Not before this time, because the client sends very many requests at once.
    Resting(Pin<Box<Sleep>>),
    /// Not before the requests of the last reading were judged: their tasks are behind this one in the runtime's queue.
    Judging,
    /// Never again: the connection is closed at this time.
    Closing(Pin<Box<Sleep>>),
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
        let distrusted = match &source {
            Source::Tcp { .. } => Some(Box::pin(status.distrusted.clone().cancelled_owned())),
            Source::Local(_) => None,
        };
        let (span, account) = (source.span(), Arc::new(Mutex::new(source.account())));
        let (memberships, is_charged) = (Memberships::default(), Arc::default());
        let (calls, begun) = (Arc::default(), Arc::default());
        Self {
            stream,
            peer: Peer { source, memberships, span, status, budgets, account, is_charged, calls, begun },
            probation: Some(probation),
            reading: Reading::Free,
            burst: Burst::default(),
            bursting: None,
            distrusted,
            _place: place,
        }
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

    /// Waits until the connection may be read. Returns the maximum number of bytes.
    ///
    /// # Errors
    /// The client has presented too many bad tokens: the answers to them are on their way by now.
    fn poll_may_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(distrusted) = &mut self.distrusted
            && distrusted.as_mut().poll(context).is_ready()
        {
            self.distrusted = None;
            self.reading = Reading::Closing(Box::pin(tokio::time::sleep(LAST_ANSWERS_TIME)));
        }
        loop {
            match &mut self.reading {
                Reading::Resting(rest) => {
                    ready!(rest.as_mut().poll(context));
                    self.reading = Reading::Free;
                }
                Reading::Free => match self.peer.tokens() {
                    Tokens::Full => return Poll::Ready(Ok(self.burst.limit(self.peer.begun.load(Ordering::Relaxed)))),
                    Tokens::Left(left) => {
                        let bytes = BYTES_PER_TOKEN.saturating_mul(left as usize);
                        return Poll::Ready(Ok(bytes.clamp(SHORT_READING_BYTES, LONG_READING_BYTES)));
                    }
                    Tokens::Empty(pause) => self.reading = Reading::Paused(Box::pin(tokio::time::sleep(pause))),
                },
                Reading::Paused(pause) => {
                    ready!(pause.as_mut().poll(context));
                    self.reading = Reading::Short;
                }
                Reading::Short => return Poll::Ready(Ok(SHORT_READING_BYTES)),
                Reading::Judging => {
                    self.reading = match self.burst_pause() {
                        Some(pause) => Reading::Resting(Box::pin(tokio::time::sleep(pause))),
                        None => Reading::Free,
                    };
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Reading::Closing(time) => {
                    ready!(time.as_mut().poll(context));
                    tracing::debug!(source = %self.peer.source, "connection closed: too many bad tokens");
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        }
    }

    /// Returns the time until the next reading, if the client sends very many requests at once. So the thread, and the
    /// processor, are free for the requests of others.
    fn burst_pause(&mut self) -> Option<Duration> {
        if !self.burst.is_burst(self.peer.begun.load(Ordering::Relaxed)) {
            self.bursting = None;
            return None;
        }
        Some(self.bursting.get_or_insert_with(|| self.peer.burst()).pause())
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
        let limit = ready!(this.poll_may_read(context))?;
        let read = ready!(this.poll_some(context, buffer, limit))?;
        this.burst.on_read(this.peer.begun.load(Ordering::Relaxed));
        // A few bytes are one request, for which it is not worth to come back later.
        let is_judged_first = limit < LONG_READING_BYTES || read >= SHORT_READING_BYTES;
        this.reading = if is_judged_first { Reading::Judging } else { Reading::Free };
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
