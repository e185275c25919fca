//! The gRPC edge: converts requests into calls of the broker and outcomes into responses. It decides nothing, and only
//! this module knows the contract's types.

mod authentication;
mod convert;
mod deadline;
mod diagnostics;
mod doors;
mod get_broker;
mod health;
mod heartbeat;
mod intake;
mod open_session;
mod readers;
mod replays;
mod status;
mod tonic_errors;
mod transmit;
mod wall_clock;
mod watch_readers;
mod watch_turn;

use std::{pin::Pin, sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
    journal,
    outcomes::Outcome,
};
use cardbroker_proto::{
    GROUP_METADATA, MAX_MESSAGE_BYTES,
    v1::{
        GetBrokerRequest, GetBrokerResponse, GetReaderRequest, GetReaderResponse, ListReadersRequest,
        ListReadersResponse, OpenSessionRequest, OpenSessionResponse, TransmitRequest, TransmitResponse,
        WatchReadersRequest, WatchReadersResponse, WatchTurnRequest, WatchTurnResponse,
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
use tracing::Instrument;

pub use self::{
    authentication::{Authentication, AuthenticationLayer},
    diagnostics::{Diagnostics, DiagnosticsEdge, RunFacts},
    doors::{Doors, DoorsEdge},
    health::OpenHealth,
    intake::{Intake, IntakeLayer},
};
use self::{intake::BodyFailure, replays::Replays, status::to_status};
use crate::{
    broker::{Broker, RequestContext},
    caller::group::{GroupKey, GroupMark, MAX_KEY_CHARACTERS},
    listen::Peer,
    reader::spans,
};

/// The metadata with the W3C trace context of a request.
const TRACE_METADATA: &str = "traceparent";

/// The contract's service, backed by a broker.
pub struct Edge {
    broker: Broker,
    heartbeat_interval: Duration,
    draining: CancellationToken,
    /// The answers to repeats that are still being sent.
    replays: Replays,
}

impl Edge {
    /// Creates the edge. Streams carry a heartbeat after `heartbeat_interval` of silence; watches end when `draining`
    /// is cancelled.
    pub fn new(broker: Broker, heartbeat_interval: Duration, draining: CancellationToken) -> Self {
        Self { broker, heartbeat_interval, draining, replays: Replays::default() }
    }

    /// Returns the tonic service, with the contract's message limits.
    pub fn into_service(self) -> EdgeService {
        let service = CardBrokerServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        MapResponseLayer::new(finish as Explain).named_layer(service)
    }

    /// Returns the response for the outcome of a unit at `reader`. Repeats share theirs.
    ///
    /// # Errors
    /// The failure that the unit has ended with, without an answer.
    fn transmitted(
        &self,
        (outcome, replayed): (Arc<Outcome>, bool),
        reader: &str,
    ) -> Result<Response<TransmitResponse>, Failure> {
        if !replayed {
            let outcome = Arc::try_unwrap(outcome).unwrap_or_else(|outcome| Outcome::clone(&outcome))?;
            return Ok(Response::new(transmit::response(outcome, false, reader)));
        }
        let answered = outcome.as_ref().as_ref().map_err(Failure::clone)?;
        let reply = self.replays.reply(&outcome, || transmit::response(answered.clone(), true, reader));
        // The body is replaced on its way out: the generated service knows only whole messages.
        let mut response = Response::new(TransmitResponse::default());
        response.extensions_mut().insert(reply);
        Ok(response)
    }

    /// Joins the isolation group that a call belongs to.
    fn group_of<T>(&self, origin: &Origin, request: &Request<T>) -> Result<GroupMark, Status> {
        let group = self.group(origin, request.metadata().get(GROUP_METADATA));
        group.map_err(|failure| to_status(&failure, None))
    }

    /// Returns the isolation group of a call; its connection keeps the group alive.
    fn group(&self, origin: &Origin, key: Option<&MetadataValue<Ascii>>) -> Result<GroupMark, Failure> {
        let Some(key) = group_key(&origin.caller, key)? else { return Ok(GroupMark::alone()) };
        join(&self.broker, origin, key)
    }
}

/// The key of the isolation group of a call with this metadata; `None` if the call is a group by itself.
fn group_key(caller: &Caller, key: Option<&MetadataValue<Ascii>>) -> Result<Option<GroupKey>, Failure> {
    let key = key.map(|key| {
        let is_visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let text = key.to_str().ok().filter(|text| (1..=MAX_KEY_CHARACTERS).contains(&text.len()));
        let text = text.filter(is_visible);
        text.ok_or_else(|| Failure::invalid(GROUP_METADATA, "a group's key has 1 to 128 visible ASCII characters"))
    });
    Ok(GroupKey::new(caller, key.transpose()?))
}

/// Joins the connection of a request to the group of `key`.
fn join(broker: &Broker, origin: &Origin, key: GroupKey) -> Result<GroupMark, Failure> {
    let joined = origin.peer.memberships.join(broker.groups(), key);
    joined.map_err(|full| Failure::invalid(GROUP_METADATA, full.to_string()))
}

/// [`Edge`] as a tonic service.
pub type EdgeService = Layered<MapResponse<CardBrokerServiceServer<Edge>, Explain>, CardBrokerServiceServer<Edge>>;

type Explain = fn(http::Response<Body>) -> http::Response<Body>;

/// Completes a response of the generated service.
fn finish(response: http::Response<Body>) -> http::Response<Body> {
    replays::insert(tonic_errors::explain(response))
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CardBrokerService for Edge {
    async fn get_broker(&self, request: Request<GetBrokerRequest>) -> Result<Response<GetBrokerResponse>, Status> {
        let origin = origin(&request)?;
        let group = self.group_of(&origin, &request)?;
        Ok(Response::new(get_broker::response(self.broker.about(&origin.caller, &group))))
    }

    async fn list_readers(
        &self,
        request: Request<ListReadersRequest>,
    ) -> Result<Response<ListReadersResponse>, Status> {
        let origin = origin(&request)?;
        self.group_of(&origin, &request)?;
        Ok(Response::new(readers::list(&self.broker.readers(&origin.caller))))
    }

    async fn get_reader(&self, request: Request<GetReaderRequest>) -> Result<Response<GetReaderResponse>, Status> {
        let origin = origin(&request)?;
        self.group_of(&origin, &request)?;
        let name = &request.get_ref().name;
        let reader = self.broker.reader(origin.recorded(), name).map_err(|failure| to_status(&failure, None))?;
        Ok(Response::new(readers::get(&reader)))
    }

    type WatchReadersStream = Responses<WatchReadersResponse>;

    async fn watch_readers(
        &self,
        request: Request<WatchReadersRequest>,
    ) -> Result<Response<Self::WatchReadersStream>, Status> {
        watch_readers::check(request.get_ref()).map_err(|failure| to_status(&failure, None))?;
        let origin = origin(&request)?;
        self.group_of(&origin, &request)?;
        let (heartbeat, draining) = (self.heartbeat_interval, self.draining.clone());
        let readers = self.broker.watch(&origin.caller, &request.get_ref().resume_token);
        Ok(Response::new(Box::pin(watch_readers::stream(readers, heartbeat, draining))))
    }

    type WatchTurnStream = Responses<WatchTurnResponse>;

    async fn watch_turn(&self, request: Request<WatchTurnRequest>) -> Result<Response<Self::WatchTurnStream>, Status> {
        let origin = origin(&request)?;
        self.group_of(&origin, &request)?;
        let reader = Some(request.into_inner().reader).filter(|reader| !reader.is_empty());
        let turns = self.broker.turns(&origin.caller, reader.as_deref());
        let (heartbeat, draining) = (self.heartbeat_interval, self.draining.clone());
        Ok(Response::new(Box::pin(watch_turn::stream(turns, reader, heartbeat, draining))))
    }

    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        let give_up = deadline::give_up(request.metadata());
        let origin = origin(&request)?;
        let key = request.metadata().get(GROUP_METADATA).cloned();
        let span = spans::unit(&origin.peer.span);
        let request = request.into_inner();
        let reader = request.reader.clone();
        let outcome = async {
            let (unit, id) = transmit::unit_request(request)?;
            let group = self.group(&origin, key.as_ref())?;
            let context = RequestContext {
                caller: &origin.caller,
                group,
                reader: &reader,
                traceparent: origin.traceparent.clone(),
            };
            match id {
                None => Ok((Arc::new(Ok(self.broker.transmit(context, unit, give_up).await?)), false)),
                Some(id) => self.broker.transmit_once(context, unit, give_up, id).await,
            }
        };
        match outcome.instrument(span).await.and_then(|outcome| self.transmitted(outcome, &reader)) {
            Ok(response) => Ok(response),
            Err(failure) => Err(to_status(&failure, known_reader(&self.broker, &origin.caller, &reader))),
        }
    }

    type OpenSessionStream = Responses<OpenSessionResponse>;

    async fn open_session(
        &self,
        request: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let deadline = deadline::give_up(request.metadata());
        let origin = origin(&request)?;
        let group = self.group_of(&origin, &request)?;
        // Nothing is awaited here, so the headers go out before the first message is read.
        let body_failure = request.extensions().get::<BodyFailure>().cloned().unwrap_or_default();
        let (heartbeat_interval, peer) = (self.heartbeat_interval, origin.peer.clone());
        let traceparent = origin.traceparent.clone();
        let settings = open_session::Settings { deadline, heartbeat_interval, body_failure, peer, traceparent };
        let (broker, inbound) = (self.broker.clone(), request.into_inner());
        let span = spans::session(&origin.peer.span);
        let stream = open_session::stream(broker, origin.caller, group, inbound, settings, span);
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Returns `name` if the caller may see a reader of this name.
fn known_reader<'a>(broker: &Broker, caller: &Caller, name: &'a str) -> Option<&'a str> {
    broker.shows(caller, name).then_some(name)
}

/// The caller of a request, and the connection that it came on, which keeps the caller's isolation groups alive.
struct Origin {
    caller: Caller,
    peer: Peer,
    /// The trace context of the request; `None` without one in the form of the standard.
    traceparent: Option<Arc<str>>,
}

impl Origin {
    /// Returns the request as journals and the audit trail record it, in no isolation group.
    fn recorded(&self) -> Arc<journal::Origin> {
        let (caller, traceparent) = (self.caller.clone(), self.traceparent.clone());
        Arc::new(journal::Origin { caller, group: None, traceparent })
    }
}

/// Returns the caller and connection that the listener and the authentication have put into a request.
fn origin<T>(request: &Request<T>) -> Result<Origin, Status> {
    let extensions = request.extensions();
    let traceparent = request.metadata().get(TRACE_METADATA).and_then(|value| value.to_str().ok());
    let traceparent = traceparent.and_then(journal::traceparent);
    match (extensions.get::<Caller>(), extensions.get::<Peer>()) {
        (Some(caller), Some(peer)) => Ok(Origin { caller: caller.clone(), peer: peer.clone(), traceparent }),
        _ => {
            let failure = Failure::not_sent(
                Reason::Internal,
                "the request has no caller: restart the broker and report the fault",
            );
            Err(to_status(&failure, None))
        }
    }
}
