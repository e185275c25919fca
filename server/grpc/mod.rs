//! The gRPC edge: turns requests into calls of the broker and outcomes into responses. It decides nothing, and it alone knows the
//! contract's types.

mod deadline;
mod list_readers;
mod status;
mod transmit;
mod watch_readers;

use std::{pin::Pin, time::Duration};

use cardbroker_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        ListReadersRequest, ListReadersResponse, OpenSessionRequest, OpenSessionResponse, TransmitRequest,
        TransmitResponse, WatchReadersRequest, WatchReadersResponse,
        card_broker_service_server::{CardBrokerService, CardBrokerServiceServer},
    },
};
use futures_core::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::status::to_status;
use crate::{
    broker::Broker,
    caller::Caller,
    error::{Failure, Reason},
    listen::Peer,
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
    pub fn into_service(self) -> CardBrokerServiceServer<Self> {
        CardBrokerServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CardBrokerService for Edge {
    async fn list_readers(&self, _: Request<ListReadersRequest>) -> Result<Response<ListReadersResponse>, Status> {
        Ok(Response::new(list_readers::response(&self.broker.readers())))
    }

    type WatchReadersStream = Responses<WatchReadersResponse>;

    async fn watch_readers(
        &self,
        request: Request<WatchReadersRequest>,
    ) -> Result<Response<Self::WatchReadersStream>, Status> {
        watch_readers::check(request.get_ref()).map_err(|failure| to_status(&failure, None))?;
        let stream = watch_readers::stream(&self.broker, self.heartbeat_interval, self.draining.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        let give_up = deadline::give_up(request.metadata());
        let caller = caller(&request)?;
        let request = request.into_inner();
        let reader = request.reader.clone();
        let outcome = match transmit::unit_request(request) {
            Ok(unit) => self.broker.transmit(&caller, &reader, unit, give_up).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(outcome) => Ok(Response::new(transmit::response(outcome))),
            Err(failure) => Err(to_status(&failure, Some(&reader))),
        }
    }

    type OpenSessionStream = Responses<OpenSessionResponse>;

    async fn open_session(
        &self,
        _: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let message = "this version of the broker has no sessions yet: put the commands into one Transmit";
        Err(to_status(&Failure::not_sent(Reason::NotImplemented, message), None))
    }
}

/// Who asks. The listener puts it into every request.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.caller).ok_or_else(|| {
        let failure = Failure::not_sent(Reason::Internal, "the connection has no caller: report this");
        to_status(&failure, None)
    })
}
