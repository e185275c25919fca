//! The client's half of a session's stream. It ends in one of two ways: half-closed in good order, or reset.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, SessionOpen, card_broker_service_client::CardBrokerServiceClient,
    open_session_request::Request,
};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Status, Streaming, body::Body};
use tower::ServiceExt;

use super::MAX_PIPELINED;
use crate::Client;

/// What the client still has to say. Dropping it resets the stream, whatever was said before.
pub(super) struct Outgoing {
    /// Goes before `messages`, whose end alone would be a half-close.
    _unbroken: DropGuard,
    /// `None` after the half-close. Has room for `open` and for as many messages as may be unanswered.
    messages: Option<mpsc::Sender<OpenSessionRequest>>,
}

impl Outgoing {
    /// Starts a stream with its first message.
    pub(super) async fn start(
        client: &Client,
        open: SessionOpen,
    ) -> Result<(Self, Streaming<OpenSessionResponse>), Status> {
        let (messages, queue) = mpsc::channel(MAX_PIPELINED + 1);
        let broken = CancellationToken::new();
        let outgoing = Self { _unbroken: broken.clone().drop_guard(), messages: Some(messages) };
        outgoing.send(OpenSessionRequest { request: Some(Request::Open(open)), restart: false });

        let breakable = move |request: http::Request<Body>| {
            let broken = Box::pin(broken.clone().cancelled_owned());
            request.map(|body| Body::new(Breakable { body, broken }))
        };
        let mut stub = CardBrokerServiceClient::new(client.channel().map_request(breakable));
        let response = stub.open_session(client.request(ReceiverStream::new(queue))).await?;
        Ok((outgoing, response.into_inner()))
    }

    /// Never waits: the caller keeps count of what is unanswered. Of a stream that is over the other half tells.
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

/// A request's body that fails as soon as it is broken. HTTP/2 then resets the stream, where dropping the call would only
/// end the body, as a half-close does.
struct Breakable {
    body: Body,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl http_body::Body for Breakable {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if self.broken.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::cancelled("the session was dropped"))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}
