//! Diagnostics for operators: who holds a card, who waits, what was said; and how they intervene.
//!
//! ```rust,no_run
//! # use cardbroker_client::{Client, Error, diagnostics::TraceLevel};
//! # async fn run(client: &Client) -> Result<(), Error> {
//! let diagnostics = client.diagnostics();
//! for reader in diagnostics.status().get().await?.readers {
//!     println!("{} requests wait", reader.waiter_count);
//! }
//! let mut trace = diagnostics.trace().reader("desk").level(TraceLevel::Headers).recorded_count(20).begin().await?;
//! loop {
//!     let batch = trace.next().await?;
//!     println!("{} events, {} missed before them", batch.events.len(), batch.missed_count);
//! }
//! # }
//! ```
//!
//! Each call needs a permission of its own, which rules grant by name only: `diagnose`, `trace`, `trace_data`,
//! `release`, `configure` and `metrics`. Without it the call fails with
//! [`ErrorReason::Denied`](crate::ErrorReason::Denied), or with
//! [`ErrorReason::ReaderNotFound`](crate::ErrorReason::ReaderNotFound) if it names a reader.
//!
//! The messages are those of the contract, as [`Reader`](crate::Reader) is. Their texts are printable, but some were
//! chosen by other programs. [`time`] and [`duration`] convert their times.

mod release;
mod status;
mod trace;

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

pub use cardbroker_proto::diagnostics::v1::{
    BrokerStatus, Caller, CallerFilter, CardInserted, CardRemoved, CommandClass, CommandEnd, CommandEvent,
    ConnectionCount, DenialEvent, DriverCall, Holder, Incident, IncidentKind, LastCommand, Listener, NotServedEvent,
    PcscState, PcscStatus, ReaderCounters, ReaderStatus, ReleaseOutcome, ReleaseResponse as Released, Reload,
    ReloadPart, ReloadState, ReloadedPart, ResetEvent, Status, TraceEvent, TraceEventKind, TraceLevel, Tracer,
    TurnBegan, TurnEnded, Waiter, trace_event::Event,
};
use cardbroker_proto::diagnostics::v1::{
    GetMetricsRequest, ReloadRequest, SetLogFilterRequest, diagnostics_service_client::DiagnosticsServiceClient,
};
pub use release::Release;
pub use status::{GetStatus, WatchStatus};
use tonic::{Request, Response};
pub use trace::{Trace, TraceBatch, TraceOptions};

pub use crate::response::{duration, time};
use crate::{
    Client, Error, ReaderName,
    query::{AfterLoss, in_time},
    response::to_wire,
    route::Route,
};

/// The maximum size of a response, in bytes: a state of thousands of readers with long queues is larger than the
/// default of gRPC libraries.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

type Stub = DiagnosticsServiceClient<Route>;

/// The calls for operators; made by [`Client::diagnostics`]. Clones are cheap and share the connection.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    client: Client,
}

impl Diagnostics {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Asks for the state of the broker and its readers at one moment. Needs `diagnose`.
    pub fn status(&self) -> GetStatus {
        GetStatus::new(self.clone())
    }

    /// Follows the state of the broker and its readers. Needs `diagnose`.
    pub fn watch_status(&self) -> WatchStatus {
        WatchStatus::new(self.clone())
    }

    /// Follows what happens at readers: turns, commands, resets, insertions, and requests that were denied or got no
    /// turn. Needs `trace`, and for data
    /// `trace_data`.
    pub fn trace(&self) -> TraceOptions {
        TraceOptions::new(self.clone())
    }

    /// Ends the turn of the holder that the operator saw: `lease` is its [`Holder::lease`]. Needs `release`.
    pub fn release(&self, reader: impl Into<ReaderName>, lease: impl Into<String>) -> Release {
        Release::new(self.clone(), reader.into(), lease.into())
    }

    /// Replaces the filter of the broker's log for a time, 1 s–1 h: directives as in the configuration's `log.level`,
    /// for targets of Cardbroker. Returns when the configured filter is in force again; `None` if the broker does not
    /// say. Needs `configure`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`].
    pub async fn set_log_filter(
        &self,
        filter: impl Into<String>,
        duration: Duration,
    ) -> Result<Option<SystemTime>, Error> {
        let request = SetLogFilterRequest { filter: filter.into(), duration: Some(to_wire(duration)) };
        let call = |mut stub: Stub, request| async move { stub.set_log_filter(in_time(request)).await };
        Ok(time(self.call(request, AfterLoss::Repeat, call).await?.revert_time))
    }

    /// Has the broker read its configuration and tokens again, and returns the outcome for each part. Needs
    /// `configure`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`]: with
    /// [`ErrorReason::ConfigurationRefused`](crate::ErrorReason::ConfigurationRefused) the old rules stay in force, and
    /// the message names the mistake.
    pub async fn reload(&self) -> Result<Vec<ReloadedPart>, Error> {
        let call = |mut stub: Stub, request| async move { stub.reload(in_time(request)).await };
        Ok(self.call(ReloadRequest {}, AfterLoss::Repeat, call).await?.parts)
    }

    /// Returns counters, gauges and histograms of the broker as OpenMetrics 1.0 text. Needs `metrics`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`].
    pub async fn metrics(&self) -> Result<String, Error> {
        let call = |mut stub: Stub, request| async move { stub.get_metrics(in_time(request)).await };
        Ok(self.call(GetMetricsRequest {}, AfterLoss::Repeat, call).await?.text)
    }

    async fn call<M: Clone, T, F>(
        &self,
        message: M,
        after_loss: AfterLoss,
        call: impl Fn(Stub, Request<M>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let stub = || DiagnosticsServiceClient::new(self.client.route()).max_decoding_message_size(MAX_RESPONSE_BYTES);
        self.client.call(message, after_loss, |request| call(stub(), request)).await
    }

    async fn name(&self, reader: Option<ReaderName>) -> Result<String, Error> {
        ReaderName::resolve_or_all(reader, &self.client).await
    }

    fn lost(&self, status: &tonic::Status) -> Error {
        Error::of_query(self.client.endpoint(), status)
    }
}
