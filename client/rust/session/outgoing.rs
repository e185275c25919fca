//! The client's half of a session's stream. It ends in one of two ways: half-closed (graceful), or reset.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, SessionHeartbeat, SessionOpen,
    card_broker_service_client::CardBrokerServiceClient, open_session_request::Request,
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming, body::Body};
use tower::ServiceExt;

use super::MAX_PIPELINED;
use crate::{Client, Error, body::Guarded};

/// The client's silence after which it sends a heartbeat.
const SILENCE: Duration = Duration::from_secs(30);

/// The sending side of the stream. Dropping it resets the stream, even with queued messages.
pub(super) struct Outgoing {
    /// Dropped before `messages`, whose end alone would be a half-close.
    _unbroken: DropGuard,
    /// `None` after the half-close. Has capacity for `open` and for the maximum of unanswered messages.
    messages: Option<mpsc::Sender<OpenSessionRequest>>,
}

impl Outgoing {
    /// Starts a stream with its first message.
    pub(super) async fn start(
        client: &Client,
        open: SessionOpen,
    ) -> Result<(Self, Streaming<OpenSessionResponse>), Error> {
        let (messages, queue) = mpsc::channel(MAX_PIPELINED + 1);
        let broken = CancellationToken::new();
        let outgoing = Self { _unbroken: broken.clone().drop_guard(), messages: Some(messages) };
        outgoing.send(OpenSessionRequest { request: Some(Request::Open(open)), restart: false });

        // Dropping the call would only end the body, like a half-close.
        let breakable = move |request: http::Request<Body>| {
            let mut broken = Box::pin(broken.clone().cancelled_owned());
            let dropped = || Status::cancelled("the session was dropped");
            Guarded::request(request, move |context| broken.as_mut().poll(context).is_ready().then(dropped))
        };
        let mut stub = CardBrokerServiceClient::new(client.route().map_request(breakable));
        let response = stub.open_session(client.request(Spoken::of(queue))?).await;
        let response = response.map_err(|status| Error::of_query(client.endpoint(), &status))?;
        Ok((outgoing, response.into_inner()))
    }

    /// Never waits: the caller limits the unanswered messages. If the stream is over, the other half reports it.
    pub(super) fn send(&self, message: OpenSessionRequest) {
        if let Some(messages) = &self.messages {
            let _ = messages.try_send(message);
        }
    }

    pub(super) fn half_close(&mut self) {
        self.messages = None;
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.messages.is_none()
    }
}

/// The messages in the order in which they were queued, with a heartbeat after each silence of [`SILENCE`].
struct Spoken {
    queue: mpsc::Receiver<OpenSessionRequest>,
    silence: Pin<Box<Sleep>>,
}

impl Spoken {
    fn of(queue: mpsc::Receiver<OpenSessionRequest>) -> Self {
        Self { queue, silence: Box::pin(sleep(SILENCE)) }
    }
}

impl Stream for Spoken {
    type Item = OpenSessionRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<OpenSessionRequest>> {
        let message = match self.queue.poll_recv(context) {
            Poll::Ready(message) => message,
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                Some(heartbeat())
            }
        };
        self.silence.set(sleep(SILENCE));
        Poll::Ready(message)
    }
}

fn heartbeat() -> OpenSessionRequest {
    let heartbeat = SessionHeartbeat { send_time: Some(SystemTime::now().into()) };
    OpenSessionRequest { request: Some(Request::Heartbeat(heartbeat)), restart: false }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};
    use tokio_stream::StreamExt;

    use super::*;

    fn reset() -> OpenSessionRequest {
        OpenSessionRequest { request: None, restart: true }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_of_30_s_is_broken_by_a_heartbeat() {
        let (messages, queue) = mpsc::channel(1);
        let mut spoken = Spoken::of(queue);
        assert!(timeout(Duration::from_secs(29), spoken.next()).await.is_err());
        messages.send(reset()).await.unwrap();
        assert_eq!(spoken.next().await, Some(reset()), "and the silence begins anew");
        for _ in 0..2 {
            let began = Instant::now();
            let message = spoken.next().await.unwrap();
            assert!(matches!(message.request, Some(Request::Heartbeat(SessionHeartbeat { send_time: Some(_) }))));
            assert_eq!(began.elapsed().as_secs(), 30);
        }
        drop(messages);
        assert_eq!(spoken.next().await, None);
    }
}
