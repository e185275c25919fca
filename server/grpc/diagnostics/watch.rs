//! `WatchStatus`: the state at once and after each interval. The connection pulls the stream, so a slow client gets
//! the latest state.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use cardbroker_core::{error::Failure, journal::Origin, policy::rule::Operation};
use cardbroker_proto::diagnostics::v1::{WatchStatusRequest, WatchStatusResponse};
use futures_core::Stream;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::{super::heartbeat::Heartbeat, Diagnostics};
use crate::grpc::{convert::duration_in, status::to_status, watch_readers::stopping};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_RANGE: RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(3_600);

/// The age up to which a snapshot that was taken for another operator is shown.
const MAX_SHARED_AGE: Duration = Duration::from_millis(100);

/// One operator that follows the state.
pub(super) struct Watch {
    diagnostics: Diagnostics,
    origin: Arc<Origin>,
    reader: Option<String>,
    interval: Duration,
    /// When the next state is due.
    due: Instant,
    has_sent: bool,
}

impl Watch {
    /// Creates a watch for the request `origin`.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`](cardbroker_core::error::Reason::InvalidRequest) if the interval is out of range.
    pub(super) fn new(
        diagnostics: Diagnostics,
        origin: Arc<Origin>,
        request: WatchStatusRequest,
    ) -> Result<Self, Failure> {
        let interval = request.interval.map_or(Ok(DEFAULT_INTERVAL), |given| {
            duration_in(given, INTERVAL_RANGE, "interval", "out of range: 250 ms to 1 h")
        })?;
        let reader = Some(request.reader).filter(|reader| !reader.is_empty());
        Ok(Self { diagnostics, origin, reader, interval, due: Instant::now(), has_sent: false })
    }

    /// Returns the stream of states and heartbeats.
    pub(super) fn stream(self) -> impl Stream<Item = Result<WatchStatusResponse, Status>> + Send {
        let heartbeat = Heartbeat::new(self.diagnostics.heartbeat_interval);
        futures_util::stream::unfold(Some((self, heartbeat)), |state| async {
            let (mut watch, mut heartbeat) = state?;
            let next = heartbeat.next_or_silence(watch.next()).await;
            match next.unwrap_or(Ok(WatchStatusResponse { status: None })) {
                Ok(response) => Some((Ok(response), Some((watch, heartbeat)))),
                Err(failure) => Some((Err(to_status(&failure, None)), None)),
            }
        })
    }

    /// Returns the next state when it is due. Cancel-safe: a state that was not returned is due still.
    async fn next(&mut self) -> Result<WatchStatusResponse, Failure> {
        tokio::select! {
            biased;
            () = self.diagnostics.draining.cancelled() => return Err(stopping()),
            () = sleep_until(self.due) => {}
        }
        let not_before = if self.has_sent { Instant::now() - MAX_SHARED_AGE } else { Instant::now() };
        self.diagnostics.broker.check_anywhere(&self.origin, Operation::Diagnose)?;
        // A named reader that is not there is left out until it comes.
        let diagnosis = self.diagnostics.diagnosis(&self.origin.caller, self.reader.as_deref(), not_before).await;
        let status = self.diagnostics.wire_status(&diagnosis).await;
        self.has_sent = true;
        self.due = Instant::now() + self.interval;
        Ok(WatchStatusResponse { status: Some(status) })
    }
}
