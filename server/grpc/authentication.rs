//! Authentication: the kernel identifies callers on the Unix socket; each request on TCP needs a token, except a health
//! check (`health.rs`). Puts the caller into every request.
//!
//! A page in a browser can also reach a loopback port, and by DNS rebinding under its own host name. Its browser does
//! not trust the port's certificate, and it has no token; foreign names and requests with an `Origin` are refused all
//! the same, before the token is checked.
//!
//! A connection is closed after a few bad tokens in a row, and after `first_request_timeout` without a valid one. No
//! single refusal is slowed down: 256 random bits cannot be guessed, and all clients share one address, so a delay
//! would punish holders of a token. Very many refusals are: see `listen::budgets`.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use cardbroker_core::error::{Failure, Reason};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{
    HeaderMap, Request, Response, Uri,
    header::{AUTHORIZATION, HOST, ORIGIN},
    uri::Authority,
};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{
    health::{OpenHealth, is_open_check},
    status::to_status,
};
use crate::{
    caller::own_token::Credentials,
    listen::{Peer, Source},
    policy::audit::AuditTrail,
};

/// Passes only requests of known callers. Must be outside of every service.
#[derive(Debug, Clone)]
pub struct AuthenticationLayer {
    credentials: Credentials,
    /// The audit trail for refused credentials.
    trail: AuditTrail,
    /// Answers health checks that have no token.
    health: OpenHealth,
}

impl AuthenticationLayer {
    /// Requires one of the current tokens of `credentials` from requests on TCP, except those that `health` answers.
    /// Records refused ones in `trail`.
    pub fn new(credentials: Credentials, trail: AuditTrail, health: OpenHealth) -> Self {
        Self { credentials, trail, health }
    }
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = Authentication<S>;

    fn layer(&self, inner: S) -> Authentication<S> {
        let Self { credentials, trail, health } = self.clone();
        Authentication { inner, credentials, trail, health }
    }
}

/// A service behind an [`AuthenticationLayer`].
#[derive(Debug, Clone)]
pub struct Authentication<S> {
    inner: S,
    credentials: Credentials,
    trail: AuditTrail,
    health: OpenHealth,
}

/// The answer of the authentication itself: at once, or after a look at the message.
type OwnAnswer<E> = Either<Ready<Result<Response<Body>, E>>, BoxFuture<'static, Result<Response<Body>, E>>>;

impl<S> Service<Request<Body>> for Authentication<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, OwnAnswer<S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(peer) = open_check(&request) {
            let (health, trail) = (self.health.clone(), self.trail.clone());
            let answer = async move {
                let answer = health.answer(request, peer.clone()).await;
                Ok(answer.unwrap_or_else(|| refused(&no_token(), &peer, &trail)))
            };
            return Either::Right(Either::Right(Box::pin(answer)));
        }
        match admit(&mut request, &self.credentials, &self.trail) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(failure) => Either::Right(Either::Left(ready(Ok(to_status(&failure, None).into_http())))),
        }
    }
}

/// The peer of a request that may be a health check without a token, and comes neither from a browser nor to a foreign
/// name.
fn open_check(request: &Request<Body>) -> Option<Peer> {
    let peer = request.extensions().get::<Peer>()?;
    let Source::Tcp { server, .. } = peer.source else { return None };
    let is_open = is_open_check(peer, request.uri(), request.headers())
        && check_origin(request.uri(), request.headers(), server).is_ok();
    is_open.then(|| peer.clone())
}

/// Records a request on TCP without a valid token, and returns its answer.
fn refused(failure: &Failure, peer: &Peer, trail: &AuditTrail) -> Response<Body> {
    on_bad_token(failure, peer, trail);
    to_status(failure, None).into_http()
}

fn on_bad_token(failure: &Failure, peer: &Peer, trail: &AuditTrail) {
    trail.unauthenticated(&peer.source, failure);
    if peer.charge_bad_token() {
        trail.distrusted(&peer.source);
    }
}

fn admit(request: &mut Request<Body>, credentials: &Credentials, trail: &AuditTrail) -> Result<(), Failure> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| {
        Failure::not_sent(Reason::Internal, "the connection has no source: restart the broker and report the fault")
    })?;
    let caller = match &peer.source {
        Source::Local(caller) => caller.clone(),
        Source::Tcp { connection, server, .. } => {
            let caller = |token| credentials.caller(token, *connection);
            let caller = check_origin(request.uri(), request.headers(), *server)
                .and_then(|()| token(request.headers()))
                .and_then(|token| caller(token).ok_or_else(|| unauthenticated("the token is not valid here")));
            // No service needs the token, so none can leak it.
            request.headers_mut().remove(AUTHORIZATION);
            let caller = caller.inspect_err(|failure| on_bad_token(failure, &peer, trail))?;
            peer.token_seen(&caller);
            caller
        }
    };
    peer.request_seen();
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Refuses requests of browsers, and requests for another host name than this port at `server`.
fn check_origin(uri: &Uri, headers: &HeaderMap, server: SocketAddr) -> Result<(), Failure> {
    if headers.contains_key(ORIGIN) {
        return Err(Failure::invalid("origin", "browsers are not served: use a program on this machine"));
    }
    let host = |value: &http::HeaderValue| Authority::try_from(value.as_bytes()).ok();
    let mut names = headers.get_all(HOST).iter().map(host).chain(uri.authority().map(|name| Some(name.clone())));
    let named = |name: Option<Authority>| name.is_some_and(|name| is_ours(name.host(), server));
    // HTTP/2 sends the host name in either field; where both are set, none may be foreign.
    let any = headers.contains_key(HOST) || uri.authority().is_some();
    if any && names.all(named) {
        return Ok(());
    }
    Err(Failure::invalid(":authority", "not a name of this machine: connect to 127.0.0.1, [::1] or localhost"))
}

fn is_ours(host: &str, server: SocketAddr) -> bool {
    let address = match server {
        SocketAddr::V4(server) => server.ip().to_string(),
        SocketAddr::V6(server) => format!("[{}]", server.ip()),
    };
    host.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]", &address].contains(&host)
}

/// Returns the token that a request presents.
fn token(headers: &HeaderMap) -> Result<&[u8], Failure> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else {
        return Err(no_token());
    };
    let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len()).unwrap_or_default();
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    is_bearer.then_some(token).ok_or_else(|| unauthenticated("a token is sent as `authorization: Bearer TOKEN`"))
}

fn no_token() -> Failure {
    unauthenticated("a token is needed on TCP: send one as `authorization: Bearer TOKEN`")
}

fn unauthenticated(message: &'static str) -> Failure {
    Failure::not_sent(Reason::Unauthenticated, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str, headers: &[(&'static str, &str)], server: &str) -> Result<(), String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check_origin(&uri.parse().unwrap(), &headers, server.parse().unwrap())
            .map_err(|failure| failure.field().unwrap().to_owned())
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        let server = "127.0.0.5:7777";
        for host in ["localhost", "LocalHost:1", "127.0.0.1:7777", "[::1]:7777", "127.0.0.5:80"] {
            assert_eq!(origin(&format!("http://{host}/x"), &[], server), Ok(()), "{host}");
            assert_eq!(origin("/x", &[("host", host)], server), Ok(()), "{host}");
        }
        assert_eq!(origin("http://[::1]/x", &[], "[::1]:7777"), Ok(()));
        for server in ["10.0.0.1:7777", "[fd00::7]:7777"] {
            assert_eq!(origin(&format!("http://{server}/x"), &[], server), Ok(()));
            assert_eq!(origin("http://localhost/x", &[], server), Ok(()));
        }
        let foreign = Err(":authority".to_owned());
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.", "127.0.0.2", "[::2]:7777", "0.0.0.0", "10.0.0.1"]
        {
            assert_eq!(origin(&format!("http://{host}/x"), &[], server), foreign, "{host}");
            assert_eq!(origin("http://localhost/x", &[("host", host)], server), foreign, "{host}");
        }
        assert_eq!(origin("/x", &[], server), foreign);
        assert_eq!(origin("/x", &[("host", "a b")], server), foreign);
    }

    #[test]
    fn a_page_in_a_browser_is_refused_under_any_origin() {
        for page in ["http://localhost:7777", "null"] {
            assert_eq!(origin("http://localhost/x", &[("origin", page)], "127.0.0.1:1"), Err("origin".to_owned()));
        }
    }

    #[test]
    fn exactly_one_bearer_token_is_accepted() {
        let shown = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect();
            token(&headers).map(<[u8]>::to_vec).ok()
        };
        assert_eq!(shown(&["Bearer abc"]), Some(b"abc".to_vec()));
        assert_eq!(shown(&["bearer abc"]), Some(b"abc".to_vec()));
        for wrong in [&[][..], &["Basic abc"], &["Bearer"], &["abc"], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
    }
}
