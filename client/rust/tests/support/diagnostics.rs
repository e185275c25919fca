//! The diagnostics service of the fake broker: answers that each test sets, and a record of the requests.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use cardbroker_client::{Delivery, ErrorReason};
use cardbroker_proto::diagnostics::v1::{
    GetMetricsRequest, GetMetricsResponse, GetStatusRequest, GetStatusResponse, ReleaseOutcome, ReleaseRequest,
    ReleaseResponse, ReloadPart, ReloadRequest, ReloadResponse, ReloadState, ReloadedPart, SetLogFilterRequest,
    SetLogFilterResponse, TraceRequest, TraceResponse, WatchStatusRequest, WatchStatusResponse,
    diagnostics_service_server::DiagnosticsService,
};
use prost_types::Timestamp;
use tokio_stream::{Stream, StreamExt, iter, pending};
use tonic::{Request, Response, Status};

use super::{sample, script::refusal};

/// The answers, and the requests so far.
pub(crate) struct Operations {
    pub(crate) status: cardbroker_proto::diagnostics::v1::Status,
    /// The messages of a trace; the stream stays open after the last one unless `ends`.
    pub(crate) trace: Vec<TraceResponse>,
    /// Whether streams end after their last message, as when the broker stops.
    pub(crate) ends: bool,
    pub(crate) release: ReleaseResponse,
    pub(crate) reloaded: Vec<ReloadedPart>,
    /// The refusal of every call.
    pub(crate) refusal: Option<Status>,
    pub(crate) status_requests: Vec<GetStatusRequest>,
    pub(crate) watch_requests: Vec<WatchStatusRequest>,
    pub(crate) trace_requests: Vec<TraceRequest>,
    pub(crate) releases: Vec<ReleaseRequest>,
    pub(crate) filters: Vec<SetLogFilterRequest>,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            status: sample::status(),
            trace: trace(),
            ends: false,
            release: ReleaseResponse { outcome: ReleaseOutcome::Released.into(), driver_call: None },
            reloaded: reloaded(),
            refusal: None,
            status_requests: Vec::new(),
            watch_requests: Vec::new(),
            trace_requests: Vec::new(),
            releases: Vec::new(),
            filters: Vec::new(),
        }
    }
}

impl Operations {
    /// The state of one reader, or of everything if `reader` is empty.
    fn status_of(&self, reader: &str) -> cardbroker_proto::diagnostics::v1::Status {
        let mut status = self.status.clone();
        if !reader.is_empty() {
            status.broker = None;
            status.readers.retain(|state| state.reader.as_ref().unwrap().name == reader);
        }
        status
    }
}

#[derive(Clone, Default)]
pub(crate) struct FakeDiagnostics(Arc<Mutex<Operations>>);

impl FakeDiagnostics {
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        self.0.lock().unwrap()
    }

    fn allowed(&self) -> Result<MutexGuard<'_, Operations>, Status> {
        let operations = self.operations();
        match &operations.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(operations),
        }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The messages, and then silence or the end.
fn stream<T: Send + 'static>(messages: Vec<T>, ends: bool) -> Response<Messages<T>> {
    let messages = iter(messages.into_iter().map(Ok));
    Response::new(match ends {
        true => {
            let end = refusal(ErrorReason::ShuttingDown, Delivery::NotSent, "the broker stops");
            Box::pin(messages.chain(iter([Err(end)])))
        }
        false => Box::pin(messages.chain(pending())),
    })
}

#[tonic::async_trait]
impl DiagnosticsService for FakeDiagnostics {
    type WatchStatusStream = Messages<WatchStatusResponse>;
    type TraceStream = Messages<TraceResponse>;

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let mut operations = self.allowed()?;
        let request = request.into_inner();
        let status = operations.status_of(&request.reader);
        operations.status_requests.push(request);
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }

    /// A heartbeat, and then the state twice.
    async fn watch_status(
        &self,
        request: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let mut operations = self.allowed()?;
        let request = request.into_inner();
        let state = WatchStatusResponse { status: Some(operations.status_of(&request.reader)) };
        operations.watch_requests.push(request);
        Ok(stream(vec![WatchStatusResponse { status: None }, state.clone(), state], operations.ends))
    }

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<Self::TraceStream>, Status> {
        let mut operations = self.allowed()?;
        operations.trace_requests.push(request.into_inner());
        Ok(stream(operations.trace.clone(), operations.ends))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let mut operations = self.allowed()?;
        operations.releases.push(request.into_inner());
        Ok(Response::new(operations.release))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        self.allowed()?.filters.push(request.into_inner());
        let revert_time = Some(Timestamp { seconds: sample::NOW + 600, nanos: 0 });
        Ok(Response::new(SetLogFilterResponse { revert_time }))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let parts = self.allowed()?.reloaded.clone();
        Ok(Response::new(ReloadResponse { parts }))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        drop(self.allowed()?);
        Ok(Response::new(GetMetricsResponse { text: "# TYPE units counter\nunits_total 3\n# EOF\n".into() }))
    }
}

/// A new rule, and settings as before.
fn reloaded() -> Vec<ReloadedPart> {
    let rules = ReloadedPart {
        part: ReloadPart::Rules.into(),
        state: ReloadState::InForce.into(),
        file: "/etc/cardbroker/cardbrokerd.toml".into(),
        changed: vec!["night".into()],
        more_changed_count: 0,
        message: "rules: 2 in force; added night".into(),
    };
    let settings = ReloadedPart {
        part: ReloadPart::Settings.into(),
        state: ReloadState::Unchanged.into(),
        message: "settings: unchanged".into(),
        ..ReloadedPart::default()
    };
    vec![rules, settings]
}

/// A confirmation, some events, a heartbeat, and the rest with a gap before it.
fn trace() -> Vec<TraceResponse> {
    let mut early = sample::events();
    let late = early.split_off(6);
    let message = |events, missed_count| TraceResponse { events, missed_count, epoch: "e1".into() };
    vec![message(Vec::new(), 0), message(early, 0), message(Vec::new(), 0), message(late, 5)]
}
