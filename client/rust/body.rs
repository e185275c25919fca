//! A request's body that can fail before it is sent: HTTP/2 then resets the stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// A body with a guard. The guard is polled before each frame; the body fails with the status that it returns.
pub(crate) struct Guarded<G> {
    body: Body,
    guard: G,
}

impl<G> Guarded<G>
where
    G: FnMut(&mut Context<'_>) -> Option<Status> + Send + Unpin + 'static,
{
    /// Puts `guard` before the body of `request`, for the layers of a channel.
    pub(crate) fn request(request: http::Request<Body>, guard: G) -> http::Request<Body> {
        request.map(|body| Body::new(Self::new(body, guard)))
    }

    /// Creates a body that polls `guard` before each frame of `body`.
    pub(crate) fn new(body: Body, guard: G) -> Self {
        Self { body, guard }
    }
}

impl<G: FnMut(&mut Context<'_>) -> Option<Status> + Unpin> http_body::Body for Guarded<G> {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if let Some(status) = (self.guard)(context) {
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
