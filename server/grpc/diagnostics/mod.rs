//! The diagnostics service: converts an operator's requests into calls of the broker.

mod broker_status;
mod log_filter;
mod metrics;
mod release;
mod reload;
mod status;
mod trace;
mod trace_request;
mod user_names;
mod watch;

use std::time::Duration;

use cardbroker_core::{caller::Caller, error::Failure, journal::Origin, policy::rule::Operation};
use cardbroker_proto::{
    MAX_MESSAGE_BYTES,
    diagnostics::v1::{
        GetMetricsRequest, GetMetricsResponse, GetStatusRequest, GetStatusResponse, ReleaseRequest, ReleaseResponse,
        ReloadRequest, ReloadResponse, SetLogFilterRequest, SetLogFilterResponse, Status as WireStatus, TraceRequest,
        TraceResponse, WatchStatusRequest, WatchStatusResponse,
        diagnostics_service_server::{DiagnosticsService, DiagnosticsServiceServer},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::{LayerExt, Layered},
};
use tower::util::{MapResponse, MapResponseLayer};

pub use self::broker_status::RunFacts;
use self::user_names::UserNames;
use super::{Explain, Responses, origin, status::to_status, tonic_errors};
use crate::broker::{Broker, Diagnosis, not_found};

/// The diagnostics service, backed by a broker.
#[derive(Clone)]
pub struct Diagnostics {
    broker: Broker,
    /// Facts about this run, from the other parts of the server.
    facts: RunFacts,
    heartbeat_interval: Duration,
    /// Ends the streams when the broker stops.
    draining: CancellationToken,
    /// The login names of users, looked up where the status shows them.
    names: UserNames,
}

/// [`Diagnostics`] as a tonic service.
pub type DiagnosticsEdge =
    Layered<MapResponse<DiagnosticsServiceServer<Diagnostics>, Explain>, DiagnosticsServiceServer<Diagnostics>>;

impl Diagnostics {
    /// Creates the service. Streams carry a heartbeat after `heartbeat_interval` of silence, and end when `draining` is
    /// cancelled.
    pub fn new(broker: Broker, facts: RunFacts, heartbeat_interval: Duration, draining: CancellationToken) -> Self {
        Self { broker, facts, heartbeat_interval, draining, names: UserNames::default() }
    }

    /// Returns the tonic service, with the contract's message limits.
    pub fn into_service(self) -> DiagnosticsEdge {
        let service = DiagnosticsServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        MapResponseLayer::new(tonic_errors::explain as Explain).named_layer(service)
    }

    /// Returns the state of the broker as the caller of the request `origin` may see it, now.
    ///
    /// # Errors
    /// DENIED if the caller may diagnose nothing, READER_NOT_FOUND if `reader` is none that the caller may diagnose.
    async fn status(&self, origin: &Origin, reader: Option<&str>) -> Result<WireStatus, Failure> {
        if reader.is_none() {
            self.broker.check_anywhere(origin, Operation::Diagnose)?;
        }
        let diagnosis = self.diagnosis(&origin.caller, reader, Instant::now()).await;
        if reader.is_some() && diagnosis.readers.is_empty() {
            return Err(not_found());
        }
        Ok(self.wire_status(&diagnosis).await)
    }

    /// Returns what `caller` may diagnose, at a moment not before `not_before`: everything, or only the named reader.
    async fn diagnosis(&self, caller: &Caller, reader: Option<&str>, not_before: Instant) -> Diagnosis {
        let mut diagnosis = self.broker.diagnose(caller, not_before).await;
        if let Some(reader) = reader {
            diagnosis.readers.retain(|found| &*found.view.name == reader);
            diagnosis.includes_broker = false;
        }
        diagnosis
    }
}

#[tonic::async_trait]
impl DiagnosticsService for Diagnostics {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let origin = origin(&request)?.recorded();
        let reader = Some(request.into_inner().reader).filter(|reader| !reader.is_empty());
        let status = self.status(&origin, reader.as_deref()).await;
        let status = status.map_err(|failure| to_status(&failure, None))?;
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }

    type WatchStatusStream = Responses<WatchStatusResponse>;

    async fn watch_status(
        &self,
        request: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let origin = origin(&request)?.recorded();
        let watch = watch::Watch::new(self.clone(), origin, request.into_inner());
        let watch = watch.map_err(|failure| to_status(&failure, None))?;
        Ok(Response::new(Box::pin(watch.stream())))
    }

    type TraceStream = Responses<TraceResponse>;

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<Self::TraceStream>, Status> {
        let origin = origin(&request)?.recorded();
        let trace = trace_request::read(request.into_inner()).and_then(|request| self.broker.trace(origin, request));
        let trace = trace.map_err(|failure| to_status(&failure, None))?;
        Ok(Response::new(Box::pin(self.clone().trace_stream(trace))))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let origin = origin(&request)?.recorded();
        let released = self.release_turn(origin, request.into_inner()).await;
        released.map(Response::new).map_err(|failure| to_status(&failure, None))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let origin = origin(&request)?.recorded();
        let changed = self.change_log_filter(&origin, request.get_ref());
        changed.map(Response::new).map_err(|failure| to_status(&failure, None))
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let origin = origin(&request)?.recorded();
        self.reload_configuration(&origin).await.map(Response::new).map_err(|failure| to_status(&failure, None))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        let origin = origin(&request)?.recorded();
        self.metrics(&origin).await.map(Response::new).map_err(|failure| to_status(&failure, None))
    }
}
