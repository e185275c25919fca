//! The state of the broker and its readers: at one moment, and as a stream.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use cardbroker_proto::diagnostics::v1::{GetStatusRequest, Status, WatchStatusRequest, WatchStatusResponse};
use tokio_stream::Stream;
use tonic::Streaming;

use super::{Diagnostics, Stub};
use crate::{
    Error, ReaderName,
    query::{AfterLoss, in_time},
    reopening::{Opening, Reopening},
    response::to_wire,
};

/// A question for the state at one moment; see [`Diagnostics::status`].
#[derive(Debug, Clone)]
#[must_use = "nothing is asked before `get`"]
pub struct GetStatus {
    diagnostics: Diagnostics,
    reader: Option<ReaderName>,
}

impl GetStatus {
    pub(super) fn new(diagnostics: Diagnostics) -> Self {
        Self { diagnostics, reader: None }
    }

    /// Asks for this reader only, without the broker itself.
    pub fn at(mut self, reader: impl Into<ReaderName>) -> Self {
        self.reader = Some(reader.into());
        self
    }

    /// Returns the state.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time; [`Error::Invalid`] if no reader or several have the display
    /// name; otherwise [`Error::Failed`].
    pub async fn get(self) -> Result<Status, Error> {
        let reader = self.diagnostics.name(self.reader).await?;
        let call = |mut stub: Stub, request| async move { stub.get_status(in_time(request)).await };
        let response = self.diagnostics.call(GetStatusRequest { reader }, AfterLoss::Repeat, call).await?;
        Ok(response.status.unwrap_or_default())
    }
}

/// Follows the state of the broker and its readers; made by [`Diagnostics::watch_status`]. Also a [`Stream`], which
/// never ends.
///
/// After an error the next call opens the stream again.
#[derive(Debug)]
pub struct WatchStatus {
    diagnostics: Diagnostics,
    reader: Option<ReaderName>,
    interval: Option<Duration>,
    stream: Reopening<WatchStatusResponse>,
}

impl WatchStatus {
    pub(super) fn new(diagnostics: Diagnostics) -> Self {
        Self { diagnostics, reader: None, interval: None, stream: Reopening::Closed }
    }

    /// Limits the watch to this reader, which may come later.
    pub fn at(mut self, reader: impl Into<ReaderName>) -> Self {
        self.reader = Some(reader.into());
        self
    }

    /// Sets the time between two states, 250 ms–1 h. Default: 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Returns the state, at once and then after each interval; a slow program gets the latest one. Waits without
    /// limit; cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Failed`]; [`Error::Invalid`] if no reader or several have the display name. 90 s
    /// of silence count as a lost connection.
    pub async fn next(&mut self) -> Result<Status, Error> {
        poll_fn(|context| self.poll_status(context)).await
    }

    fn poll_status(&mut self, context: &mut Context<'_>) -> Poll<Result<Status, Error>> {
        let Self { diagnostics, reader, interval, stream } = self;
        loop {
            let open = || -> Opening<_> { Box::pin(open(diagnostics.clone(), reader.clone(), *interval)) };
            let message = ready!(stream.poll_message(context, &diagnostics.client, open))?;
            if let Some(status) = message.status {
                return Poll::Ready(Ok(status));
            }
        }
    }
}

impl Stream for WatchStatus {
    type Item = Result<Status, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_status(context).map(Some)
    }
}

async fn open(
    diagnostics: Diagnostics,
    reader: Option<ReaderName>,
    interval: Option<Duration>,
) -> Result<Streaming<WatchStatusResponse>, Error> {
    let request = WatchStatusRequest { reader: diagnostics.name(reader).await?, interval: interval.map(to_wire) };
    let call = |mut stub: Stub, request| async move { stub.watch_status(request).await };
    diagnostics.call(request, AfterLoss::Repeat, call).await
}
