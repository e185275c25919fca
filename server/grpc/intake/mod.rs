//! Bounds on requests before decoding: open calls, and bytes and time of unfinished bodies, by user. A request beyond
//! them is refused before memory is reserved for it.
//!
//! ```text
//! request ─▶ authentication ─▶ intake: calls ─▶ service ─▶ body: framing, budget, time ─▶ decoder
//! ```

mod body;
mod budget;
mod framing;
mod headers;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tower::{Layer, Service};

pub(super) use self::body::BodyFailure;
use self::{
    body::MeteredBody,
    budget::{Budgets, Entitlement, Reservation},
};
use super::status::to_status;
use crate::{
    listen::{CallGuard, Peer},
    policy::access::PolicyInForce,
};

/// Methods with a stream of requests, which may stay open without a message for any time.
const CLIENT_STREAMS: [&str; 3] = [
    "/cardbroker.v1.CardBrokerService/OpenSession",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Bounds the requests of each user. Must be outside of every service and inside of the authentication.
#[derive(Clone)]
pub struct IntakeLayer {
    policy: PolicyInForce,
    budgets: Budgets,
}

impl IntakeLayer {
    /// Creates a layer with the limits that `policy` entitles a user to.
    pub fn new(policy: PolicyInForce) -> Self {
        Self { policy, budgets: Budgets::default() }
    }
}

impl<S> Layer<S> for IntakeLayer {
    type Service = Intake<S>;

    fn layer(&self, inner: S) -> Intake<S> {
        Intake { inner, policy: self.policy.clone(), budgets: self.budgets.clone() }
    }
}

/// A service behind an [`IntakeLayer`].
#[derive(Clone)]
pub struct Intake<S> {
    inner: S,
    policy: PolicyInForce,
    budgets: Budgets,
}

impl<S> Service<Request<Body>> for Intake<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<BoxFuture<'static, Result<Response<Body>, S::Error>>, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.admit(&mut request) {
            Ok(call) => {
                let response = self.inner.call(request);
                Either::Left(Box::pin(async {
                    let response = response.await?;
                    Ok(response.map(|body| Body::new(CountedBody { body, _call: call })))
                }))
            }
            Err(failure) => Either::Right(ready(Ok(to_status(&failure, None).into_http()))),
        }
    }
}

impl<S> Intake<S> {
    /// Counts the call and bounds its body.
    ///
    /// # Errors
    /// [`Reason::QueueFull`] if its connection or its user has too many calls open.
    fn admit(&self, request: &mut Request<Body>) -> Result<OpenCall, Failure> {
        let extensions = request.extensions();
        let (Some(caller), Some(peer)) = (extensions.get::<Caller>(), extensions.get::<Peer>()) else {
            return Err(Failure::not_sent(
                Reason::Internal,
                "the request has no caller: restart the broker and report the fault",
            ));
        };
        headers::check(request.uri(), request.headers())?;
        let grants_anything = self.policy.borrow().grants_anything(&caller.identity);
        let entitlement = if grants_anything { Entitlement::Member } else { Entitlement::Stranger };
        let connection = peer
            .begin_call(entitlement.connection_calls())
            .ok_or_else(|| queue_full("the connection has too many open calls: end some, or use another connection"))?;
        let (user, budgets) = (caller.principal(), self.budgets.clone());
        let account = budgets.call(&user, entitlement);
        let account = account.ok_or_else(|| queue_full("the user has too many open calls: end some"))?;
        let streams = CLIENT_STREAMS.contains(&request.uri().path());
        let failure = BodyFailure::default();
        request.extensions_mut().insert(failure.clone());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(MeteredBody::new(body, streams, user, entitlement, budgets, failure));
        Ok(OpenCall { _connection: connection, _account: account })
    }
}

/// The failure of a request that exceeds a limit of its connection or user.
fn queue_full(message: &'static str) -> Failure {
    Failure::not_sent(Reason::QueueFull, message)
}

/// An open call, counted until it is dropped.
struct OpenCall {
    _connection: CallGuard,
    _account: Reservation,
}

/// A response's body. The call counts as open until it ends.
struct CountedBody {
    body: Body,
    _call: OpenCall,
}

impl HttpBody for CountedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
