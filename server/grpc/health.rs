//! The health check without a token on TCP, for probes that cannot have one: exactly `Check` of the whole broker, a few
//! times a second. It says what everyone at the port can see anyway, whether the broker serves.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use cardbroker_core::error::{Failure, Reason};
use http::{HeaderMap, Request, Response, Uri, header::AUTHORIZATION};
use http_body::Body as HttpBody;
use http_body_util::Full;
use tokio::time::timeout;
use tonic::body::Body;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::Service;

use super::status::to_status;
use crate::listen::{CheckRoom, Peer, Source};

/// The only method without a token.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The only message, in its frame: the service "", which is the whole broker.
const WHOLE_BROKER: [u8; 5] = [0; 5];

/// Maximum open checks of one connection.
const MAX_OPEN: usize = 16;

/// How long the five bytes of the message may take.
const BODY_TIME: Duration = Duration::from_secs(1);

/// Answers checks without a token. Clones share the limit.
#[derive(Debug, Clone)]
pub struct OpenHealth {
    service: HealthServer<HealthService>,
    room: CheckRoom,
}

/// Whether a request is to be judged as a check without a token, whatever its message is.
pub(super) fn is_open_check(peer: &Peer, uri: &Uri, headers: &HeaderMap) -> bool {
    matches!(peer.source, Source::Tcp { .. }) && uri.path() == CHECK && !headers.contains_key(AUTHORIZATION)
}

impl OpenHealth {
    /// Answers by the status that `reporter` sets.
    pub fn new(reporter: HealthReporter) -> Self {
        let service = HealthServer::new(HealthService::from_health_reporter(reporter));
        Self { service, room: CheckRoom::default() }
    }

    /// Answers a check, or `None` if it is about something else and needs a token.
    pub(super) async fn answer(mut self, mut request: Request<Body>, peer: Peer) -> Option<Response<Body>> {
        let over = || {
            peer.charge_health_check();
            let message = "too many health checks without a token: check less often, or with a token";
            Some(to_status(&Failure::not_sent(Reason::OverBudget, message), None).into_http())
        };
        let Some(_call) = peer.begin_call(MAX_OPEN) else { return over() };
        let message = timeout(BODY_TIME, beginning(request.body_mut())).await;
        if !message.is_ok_and(|message| message.as_deref() == Some(&WHOLE_BROKER[..])) {
            return None;
        }
        if !self.room.take(&peer.checks, Instant::now()) {
            return over();
        }
        let checked = request.map(|_| Body::new(Full::new(Bytes::from_static(&WHOLE_BROKER))));
        let answered = self.service.call(checked).await;
        Some(answered.unwrap_or_else(|never| match never {}))
    }
}

/// Reads a body of the length of the only message to its end; `None` if it is longer or fails.
async fn beginning(body: &mut Body) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if read.len() + data.remaining() > WHOLE_BROKER.len() {
            return None;
        }
        read.extend_from_slice(data.chunk());
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_longer_message_is_not_read() {
        for (sent, expected) in [(5, true), (4, true), (6, false), (1 << 20, false)] {
            let mut body = Body::new(Full::new(Bytes::from(vec![0; sent])));
            assert_eq!(beginning(&mut body).await.map(|read| read.len()), expected.then_some(sent));
        }
    }
}
