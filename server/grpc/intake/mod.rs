//! Bounds on requests before decoding: rights, open calls, and bytes, fields and time of unfinished bodies, by user. A
//! request beyond them is refused before memory is reserved for it. Each refused request, by whatever part of the
//! broker, is charged to its user here, where its status is known.
//!
//! ```text
//! request ─▶ authentication ─▶ intake: rights, calls ─▶ service ─▶ body: framing, fields, budget, time ─▶ decoder
//!            └▶ bad token: charged    └▶ refused: charged ◀─ response ┘
//! ```

mod body;
mod budget;
mod framing;
mod headers;
mod rights;
mod shape;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

pub(super) use self::body::BodyFailure;
use self::{
    body::MeteredBody,
    budget::{Budgets, Entitlement, Reservation},
    rights::{KnownRights, Rights},
};
use super::status::to_status;
use crate::{
    broker::Broker,
    listen::{CallGuard, Peer},
};

/// The methods that run commands, which need a reader that allows it.
const TRANSMIT: &str = "/cardbroker.v1.CardBrokerService/Transmit";
const OPEN_SESSION: &str = "/cardbroker.v1.CardBrokerService/OpenSession";

/// Methods with a stream of requests, which may stay open without a message for any time.
const CLIENT_STREAMS: [&str; 3] = [
    OPEN_SESSION,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Bounds the requests of each user. Must be outside of every service and inside of the authentication.
#[derive(Clone)]
pub struct IntakeLayer {
    rights: KnownRights,
    /// Records denials in the audit trail and at the readers.
    broker: Arc<Broker>,
    budgets: Budgets,
}

impl IntakeLayer {
    /// Creates a layer with the rights and limits that the policy of `broker` entitles a user to. The broker records
    /// denials.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { rights: KnownRights::new(broker.policy()), broker, budgets: Budgets::default() }
    }
}

impl<S> Layer<S> for IntakeLayer {
    type Service = Intake<S>;

    fn layer(&self, inner: S) -> Intake<S> {
        Intake { inner, rights: self.rights.clone(), broker: Arc::clone(&self.broker), budgets: self.budgets.clone() }
    }
}

/// A service behind an [`IntakeLayer`].
#[derive(Clone)]
pub struct Intake<S> {
    inner: S,
    rights: KnownRights,
    broker: Arc<Broker>,
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
        let extensions = request.extensions();
        let (Some(caller), Some(peer)) = (extensions.get::<Caller>().cloned(), extensions.get::<Peer>().cloned())
        else {
            let failure = Failure::not_sent(
                Reason::Internal,
                "the request has no caller: restart the broker and report the fault",
            );
            return Either::Right(ready(Ok(to_status(&failure, None).into_http())));
        };
        let rights = self.rights.of(&caller.identity);
        peer.note_rights(rights.entitlement() == Entitlement::Member);
        let admitted = self.admit(&mut request, &caller, &peer, &rights);
        let charge = Charge { caller, peer };
        match admitted {
            Ok(call) => {
                let response = self.inner.call(request);
                Either::Left(Box::pin(async move {
                    let response = response.await?;
                    charge.on_head(response.headers());
                    Ok(response.map(|body| Body::new(CountedBody { body, charge, _call: call })))
                }))
            }
            Err(failure) => {
                charge.apply();
                Either::Right(ready(Ok(to_status(&failure, None).into_http())))
            }
        }
    }
}

impl<S> Intake<S> {
    /// Counts the call and bounds its body.
    ///
    /// # Errors
    /// [`Reason::QueueFull`] if its connection or its user has too many calls open, and those of [`Rights::check`].
    fn admit(
        &self,
        request: &mut Request<Body>,
        caller: &Caller,
        peer: &Peer,
        rights: &Rights,
    ) -> Result<OpenCall, Failure> {
        headers::check(request.uri(), request.headers())?;
        let record = |operation, rule: &_| self.broker.on_denied_everywhere(caller, operation, rule);
        rights.check(request.uri().path(), record)?;
        let entitlement = rights.entitlement();
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
        let body = MeteredBody::new(body, streams, user, entitlement, budgets, failure)
            .with_shape(shape::of_requests(request.uri().path()))
            .counted_in(peer.message_bytes.clone());
        *request.body_mut() = Body::new(body);
        Ok(OpenCall { _connection: connection, _account: account })
    }
}

/// The failure of a request that exceeds a limit of its connection or user.
fn queue_full(message: &'static str) -> Failure {
    Failure::not_sent(Reason::QueueFull, message)
}

/// The charge for a call, in case that it is refused.
struct Charge {
    caller: Caller,
    peer: Peer,
}

impl Charge {
    /// Charges the call if its status, in the headers of a response without messages or in its trailers, is a refusal.
    fn on_head(&self, headers: &HeaderMap) {
        if Status::from_header_map(headers).is_some_and(|status| is_refusal(status.code())) {
            self.apply();
        }
    }

    /// Charges the call to its user.
    fn apply(&self) {
        self.peer.charge(&self.caller);
    }
}

/// Whether a status says that the request was refused for the caller's fault: without rights, malformed, or beyond a
/// limit. Work on a card that has failed is no refusal.
pub(super) fn is_refusal(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unauthenticated
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Aborted
        | Code::AlreadyExists
        | Code::Cancelled
        | Code::DataLoss
        | Code::DeadlineExceeded
        | Code::FailedPrecondition
        | Code::Internal
        | Code::Unavailable
        | Code::Unknown => false,
    }
}

/// An open call, counted until it is dropped.
struct OpenCall {
    _connection: CallGuard,
    _account: Reservation,
}

/// A response's body. The call counts as open until it ends.
struct CountedBody {
    body: Body,
    charge: Charge,
    _call: OpenCall,
}

impl HttpBody for CountedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            this.charge.on_head(trailers);
        }
        polled
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
