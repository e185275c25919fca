//! The gRPC edge: turns requests into calls of the broker and outcomes into responses. It decides nothing, and it alone knows the
//! contract's types.

mod authentication;
mod bare_refusal;
mod deadline;
mod intake;
mod list_readers;
mod open_session;
mod status;
mod transmit;
mod watch_readers;

use std::{pin::Pin, time::Duration};

use cardbroker_proto::{
    GROUP_METADATA, MAX_MESSAGE_BYTES,
    v1::{
        ListReadersRequest, ListReadersResponse, OpenSessionRequest, OpenSessionResponse, TransmitRequest,
        TransmitResponse, WatchReadersRequest, WatchReadersResponse,
        card_broker_service_server::{CardBrokerService, CardBrokerServiceServer},
    },
};
use futures_core::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    metadata::{Ascii, MetadataValue},
    service::{LayerExt, Layered},
};
use tower::util::{MapResponse, MapResponseLayer};

pub use self::{
    authentication::{Authentication, AuthenticationLayer},
    intake::{Intake, IntakeLayer},
};
use self::{intake::BodyFailure, status::to_status};
use crate::{
    broker::{Asker, Broker},
    caller::Caller,
    error::{Failure, Reason},
    group::{GroupKey, GroupMark, MAX_KEY_CHARACTERS, Memberships},
    listen::Peer,
    timing::{Point, stamp},
};

/// The service of the contract on top of a broker.
pub struct Edge {
    broker: Broker,
    heartbeat_interval: Duration,
    draining: CancellationToken,
}

impl Edge {
    /// The edge. Watch streams carry a heartbeat after `heartbeat_interval` of silence and end when `draining` is cancelled.
    pub fn new(broker: Broker, heartbeat_interval: Duration, draining: CancellationToken) -> Self {
        Self { broker, heartbeat_interval, draining }
    }

    /// The tonic service, with the contract's message limits.
    pub fn into_service(self) -> EdgeService {
        let service = CardBrokerServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        MapResponseLayer::new(bare_refusal::explain as Explain).named_layer(service)
    }

    /// The isolation group that a call belongs to; its connection keeps the group alive.
    fn group(&self, source: &Source, key: Option<&MetadataValue<Ascii>>) -> Result<GroupMark, Failure> {
        let key = key.map(|key| {
            let text = key.to_str().ok().filter(|text| (1..=MAX_KEY_CHARACTERS).contains(&text.len()));
            text.ok_or_else(|| Failure::invalid(GROUP_METADATA, "a group's key has 1 to 128 visible ASCII characters"))
        });
        let Some(key) = GroupKey::new(&source.caller, key.transpose()?) else { return Ok(GroupMark::alone()) };
        source
            .memberships
            .join(self.broker.groups(), key)
            .map_err(|full| Failure::invalid(GROUP_METADATA, full.to_string()))
    }
}

/// [`Edge`] as a tonic service.
pub type EdgeService = Layered<MapResponse<CardBrokerServiceServer<Edge>, Explain>, CardBrokerServiceServer<Edge>>;

type Explain = fn(http::Response<Body>) -> http::Response<Body>;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CardBrokerService for Edge {
    async fn list_readers(
        &self,
        request: Request<ListReadersRequest>,
    ) -> Result<Response<ListReadersResponse>, Status> {
        Ok(Response::new(list_readers::response(&self.broker.readers(&source(&request)?.caller))))
    }

    type WatchReadersStream = Responses<WatchReadersResponse>;

    async fn watch_readers(
        &self,
        request: Request<WatchReadersRequest>,
    ) -> Result<Response<Self::WatchReadersStream>, Status> {
        watch_readers::check(request.get_ref()).map_err(|failure| to_status(&failure, None))?;
        let caller = source(&request)?.caller;
        let stream = watch_readers::stream(&self.broker, &caller, self.heartbeat_interval, self.draining.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        stamp(Point::Decoded);
        let give_up = deadline::give_up(request.metadata());
        let source = source(&request)?;
        let key = request.metadata().get(GROUP_METADATA).cloned();
        let request = request.into_inner();
        let reader = request.reader.clone();
        let outcome = async {
            let (unit, id) = transmit::unit_request(request)?;
            let group = self.group(&source, key.as_ref())?;
            let asker = Asker { caller: &source.caller, group, reader: &reader };
            match id {
                None => Ok((self.broker.transmit(asker, unit, give_up).await?, false)),
                Some(id) => self.broker.transmit_once(asker, unit, give_up, id).await,
            }
        };
        let response = match outcome.await {
            Ok((outcome, replayed)) => Ok(Response::new(transmit::response(outcome, replayed))),
            Err(failure) => Err(to_status(&failure, Some(&reader))),
        };
        stamp(Point::Answered);
        response
    }

    type OpenSessionStream = Responses<OpenSessionResponse>;

    async fn open_session(
        &self,
        request: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let deadline = deadline::give_up(request.metadata());
        let source = source(&request)?;
        let group =
            self.group(&source, request.metadata().get(GROUP_METADATA)).map_err(|failure| to_status(&failure, None))?;
        // Nothing is awaited here, so the headers go out before the first message is read.
        let body_failure = request.extensions().get::<BodyFailure>().cloned().unwrap_or_default();
        let (broker, inbound) = (self.broker.clone(), request.into_inner());
        let stream = open_session::stream(broker, source.caller, group, inbound, body_failure, deadline);
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Who asks, and the groups of the connection it came on.
struct Source {
    caller: Caller,
    memberships: Memberships,
}

/// Who asks. The listener and the authentication put it into every request.
fn source<T>(request: &Request<T>) -> Result<Source, Status> {
    let extensions = request.extensions();
    match (extensions.get::<Caller>(), extensions.get::<Peer>()) {
        (Some(caller), Some(peer)) => Ok(Source { caller: caller.clone(), memberships: peer.memberships.clone() }),
        _ => {
            let failure = Failure::not_sent(Reason::Internal, "the request has no caller: report this");
            Err(to_status(&failure, None))
        }
    }
}
