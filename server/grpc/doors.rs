//! `OpenDoor`: the door for a caller's children that use PC/SC. A private one is open while the stream is.

use std::{future::pending, time::Duration};

use cardbroker_core::error::{Failure, Reason};
use cardbroker_proto::{
    GROUP_METADATA, MAX_MESSAGE_BYTES,
    pcsc::v1::{
        OpenDoorRequest, OpenDoorResponse,
        pcsc_service_server::{PcscService, PcscServiceServer},
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::{LayerExt, Layered},
};
use tower::util::{MapResponse, MapResponseLayer};

use super::{
    Explain, Origin, Responses, group_key, heartbeat::Heartbeat, join, origin, status::to_status, tonic_errors,
    watch_readers::stopping,
};
use crate::{
    broker::Broker,
    listen::Source,
    pcsclite::{PrivateDoor, PrivateDoors},
};

/// The service, backed by the broker's doors.
pub struct Doors {
    broker: Broker,
    /// `None` for a broker without a door.
    doors: Option<PrivateDoors>,
    heartbeat_interval: Duration,
    draining: CancellationToken,
}

/// [`Doors`] as a tonic service.
pub type DoorsEdge = Layered<MapResponse<PcscServiceServer<Doors>, Explain>, PcscServiceServer<Doors>>;

impl Doors {
    /// Creates the service. Streams carry a heartbeat after `heartbeat_interval` of silence, and end when `draining` is
    /// cancelled.
    pub fn new(
        broker: Broker,
        doors: Option<PrivateDoors>,
        heartbeat_interval: Duration,
        draining: CancellationToken,
    ) -> Self {
        Self { broker, doors, heartbeat_interval, draining }
    }

    /// Returns the tonic service, with the contract's message limits.
    pub fn into_service(self) -> DoorsEdge {
        let service = PcscServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        MapResponseLayer::new(tonic_errors::explain as Explain).named_layer(service)
    }

    /// The door of a request, and its private door if it is to have one.
    fn door(&self, origin: &Origin, request: &Request<OpenDoorRequest>) -> Result<Opened, Failure> {
        let missing = |problem: &'static str| Failure::not_sent(Reason::NotImplemented, problem);
        if !matches!(origin.peer.source, Source::Local(_)) {
            return Err(missing("doors are for clients on the broker's Unix socket"));
        }
        let key = group_key(&origin.caller, request.metadata().get(GROUP_METADATA))?
            .ok_or_else(|| missing("doors are for local callers"))?;
        // Without a door, too: the caller's children that are clients of the broker are one group.
        join(&self.broker, origin, key.clone())?;
        let doors = self.doors.as_ref().ok_or_else(|| {
            missing("the broker has no door for PC/SC programs: its administrator opens one with pcsclite.socket")
        })?;
        if !request.get_ref().is_private {
            return Ok(Opened { path: doors.main().display().to_string(), private: None });
        }
        let private = doors.open(&origin.caller, key)?;
        Ok(Opened { path: private.path().display().to_string(), private: Some(private) })
    }
}

/// A door that was opened for a stream.
struct Opened {
    path: String,
    /// `None` for the main door, whose end is the end of the broker.
    private: Option<PrivateDoor>,
}

impl Opened {
    /// Waits for the failure of a private door. Cancel-safe.
    async fn failed(&mut self) -> Failure {
        match &mut self.private {
            Some(door) => door.failed().await,
            None => pending().await,
        }
    }
}

#[tonic::async_trait]
impl PcscService for Doors {
    type OpenDoorStream = Responses<OpenDoorResponse>;

    async fn open_door(&self, request: Request<OpenDoorRequest>) -> Result<Response<Self::OpenDoorStream>, Status> {
        let origin = origin(&request)?;
        let opened = self.door(&origin, &request).map_err(|failure| to_status(&failure, None))?;
        let first = OpenDoorResponse { socket: opened.path.clone() };
        let (heartbeat, draining) = (Heartbeat::new(self.heartbeat_interval), self.draining.clone());
        let later = futures_util::stream::unfold(Some((opened, heartbeat, draining)), |state| async {
            let (mut opened, mut heartbeat, draining) = state?;
            let ended = async {
                tokio::select! {
                    // The door closes with the broker, which is no fault.
                    biased;
                    () = draining.cancelled() => stopping(),
                    failure = opened.failed() => failure,
                }
            };
            match heartbeat.next_or_silence(ended).await {
                None => Some((Ok(OpenDoorResponse::default()), Some((opened, heartbeat, draining)))),
                Some(failure) => Some((Err(to_status(&failure, None)), None)),
            }
        });
        let first = futures_util::stream::once(std::future::ready(Ok(first)));
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, later))))
    }
}
