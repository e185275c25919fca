//! The trace: what happens at readers, as it happens.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use cardbroker_proto::diagnostics::v1::{
    CallerFilter, TraceEvent, TraceEventKind, TraceLevel, TraceRequest, TraceResponse,
};
use tokio_stream::Stream;
use tonic::Streaming;

use super::{Diagnostics, Stub};
use crate::{Error, ReaderName, incoming::Incoming, query::AfterLoss};

/// A trace before it begins; see [`Diagnostics::trace`]. Without further options it shows the headers of everything
/// that happens from now on, at all readers that the operator may trace.
#[derive(Debug, Clone)]
#[must_use = "nothing is traced before `begin`"]
pub struct TraceOptions {
    diagnostics: Diagnostics,
    readers: Vec<ReaderName>,
    callers: Vec<CallerFilter>,
    kinds: Vec<TraceEventKind>,
    level: TraceLevel,
    recorded_count: u32,
}

impl TraceOptions {
    pub(super) fn new(diagnostics: Diagnostics) -> Self {
        let (readers, callers, kinds) = (Vec::new(), Vec::new(), Vec::new());
        Self { diagnostics, readers, callers, kinds, level: TraceLevel::Unspecified, recorded_count: 0 }
    }

    /// Limits the trace to this reader and others that are named so; at most 64.
    pub fn reader(mut self, reader: impl Into<ReaderName>) -> Self {
        self.readers.push(reader.into());
        self
    }

    /// Limits the trace to events of these callers and others that are described so; at most 64. All fields of a
    /// description that are set must fit.
    pub fn caller(mut self, caller: CallerFilter) -> Self {
        self.callers.push(caller);
        self
    }

    /// Limits the trace to events of this kind and others that are given so.
    pub fn kind(mut self, kind: TraceEventKind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Sets how much is shown of commands. Default: headers. Data needs the permission `trace_data`.
    pub fn level(mut self, level: TraceLevel) -> Self {
        self.level = level;
        self
    }

    /// Sets how many events of the recorder come first, of each reader, 0–256. Default: 0.
    pub fn recorded_count(mut self, count: u32) -> Self {
        self.recorded_count = count;
        self
    }

    /// Begins the trace. Events that happen after this call has returned are in it.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time; [`Error::Invalid`] if no reader or several have a display
    /// name; otherwise [`Error::Failed`].
    pub async fn begin(self) -> Result<Trace, Error> {
        let mut readers = Vec::new();
        for reader in self.readers {
            readers.push(self.diagnostics.name(Some(reader)).await?);
        }
        let request = TraceRequest {
            readers,
            callers: self.callers,
            kinds: self.kinds.into_iter().map(Into::into).collect(),
            level: self.level.into(),
            recorded_count: i32::try_from(self.recorded_count).unwrap_or(i32::MAX),
        };
        let call = |mut stub: Stub, request| async move { stub.trace(request).await };
        let stream = self.diagnostics.call(request, AfterLoss::Repeat, call).await?;
        let mut trace = Trace {
            diagnostics: self.diagnostics,
            messages: Incoming::of(Box::new(stream)),
            epoch: String::new(),
            first: None,
            ended: None,
        };
        let first = poll_fn(|context| trace.poll_message(context)).await?;
        trace.epoch.clone_from(&first.epoch);
        trace.first = Some(first);
        Ok(trace)
    }
}

/// One message of a trace.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TraceBatch {
    /// The events, of each reader in the order in which they happened.
    pub events: Vec<TraceEvent>,
    /// The number of events before these that are missing because this program was too slow.
    pub missed_count: u64,
}

/// A trace that runs; made by [`TraceOptions::begin`]. Dropping it ends it. Also a [`Stream`], which ends after its
/// first error.
///
/// A trace cannot be resumed: after a loss of the connection, what happens meanwhile is seen by no one, and another
/// trace has to begin (perhaps with events of the recorder).
pub struct Trace {
    diagnostics: Diagnostics,
    messages: Incoming<Box<Streaming<TraceResponse>>>,
    epoch: String,
    /// The message that confirmed the beginning, until `next` has looked at it.
    first: Option<TraceResponse>,
    ended: Option<Error>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trace").field("epoch", &self.epoch).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Trace {
    /// Names the run of the broker that is traced, as [`Broker::epoch`](crate::Broker::epoch).
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Returns what happened next. Heartbeats are not shown. Waits without limit; cancel-safe: a dropped call loses
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Failed`] at the end of the trace, and the same again at each later call. 90 s of silence count as a
    /// lost connection.
    pub async fn next(&mut self) -> Result<TraceBatch, Error> {
        poll_fn(|context| self.poll_batch(context)).await
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<TraceBatch, Error>> {
        loop {
            let message = match self.first.take() {
                Some(first) => first,
                None => match ready!(self.poll_message(context)) {
                    Ok(message) => message,
                    Err(error) => return Poll::Ready(Err(error)),
                },
            };
            let missed_count = u64::try_from(message.missed_count).unwrap_or_default();
            if missed_count > 0 || !message.events.is_empty() {
                return Poll::Ready(Ok(TraceBatch { events: message.events, missed_count }));
            }
        }
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<TraceResponse, Error>> {
        if let Some(error) = &self.ended {
            return Poll::Ready(Err(error.clone()));
        }
        let status = match ready!(self.messages.poll_message(context)) {
            Ok(Some(message)) => return Poll::Ready(Ok(message)),
            Ok(None) => tonic::Status::unavailable("the broker ended the trace"),
            Err(status) => status,
        };
        Poll::Ready(Err(self.ended.insert(self.diagnostics.lost(&status)).clone()))
    }
}

impl Stream for Trace {
    type Item = Result<TraceBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        self.poll_batch(context).map(Some)
    }
}
