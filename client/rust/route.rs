//! The way to the broker: the search for an endpoint that works, and the connections to it.

use std::{future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use cardbroker_local::socket::Place;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint as Transport};
use tower::{service_fn, util::Either};

use crate::{
    Endpoint, Error, Finding, Tried,
    auto::AutoChannel,
    error::connect_failure,
    local,
    repeat::ConnectRetry,
    tcp::{self, Credentials},
};

/// The minimum time for one attempt to connect.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The way of a request to the broker: one channel, or for `tcp:auto` one after the other.
pub(crate) type Route = Either<Channel, AutoChannel>;

/// Connects to the named endpoint, or to the first default place that works. Waits for a broker that does not answer
/// yet.
pub(crate) async fn open(
    named: Option<Endpoint>,
    credentials: Option<&Arc<Credentials>>,
    limit: Duration,
) -> Result<(Endpoint, Option<Place>, Route), Error> {
    let retry = ConnectRetry::of(limit);
    let attempt = limit.max(SHORTEST_ATTEMPT);
    loop {
        let connected = match &named {
            Some(endpoint) => {
                let route = open_named(endpoint, credentials, attempt).await;
                route.map(|route| (endpoint.clone(), None, route))
            }
            None => {
                let found = local::find(|place| open_place(place, attempt)).await;
                found.map(|(endpoint, place, channel)| (endpoint, place, Either::Left(channel)))
            }
        };
        let error = match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        if !retry.pause(&error).await {
            return Err(error);
        }
    }
}

async fn open_named(
    endpoint: &Endpoint,
    credentials: Option<&Arc<Credentials>>,
    timeout: Duration,
) -> Result<Route, Error> {
    let opened = match endpoint {
        Endpoint::Unix(path) | Endpoint::Pipe(path) => open_local(path.clone(), None, timeout).await.map(Either::Left),
        Endpoint::Tcp { host, port } | Endpoint::PlainTcp { host, port } => {
            open_tcp(endpoint, tcp::address(host, *port), credentials, timeout).await.map(Either::Left)
        }
        Endpoint::Auto => {
            let channel = AutoChannel::new(timeout);
            channel.open().await.map(|()| Either::Right(channel))
        }
    };
    opened.map_err(|error| Tried { endpoint: endpoint.clone(), finding: finding(&error) }.into())
}

async fn open_place(place: Place, timeout: Duration) -> Result<Channel, Finding> {
    let opened = open_local(place.path.clone(), Some(place), timeout).await;
    opened.map_err(|error| finding(&error))
}

fn finding(error: &tonic::transport::Error) -> Finding {
    connect_failure(error).unwrap_or(Finding::Failed(io::ErrorKind::Other))
}

/// Connects to a socket or a pipe, now and after each loss of the connection. A default `place` is judged again each
/// time.
async fn open_local(
    path: PathBuf,
    place: Option<Place>,
    timeout: Duration,
) -> Result<Channel, tonic::transport::Error> {
    let connect = move |_| within(timeout, local::connect(path.clone(), place.clone()));
    // There the authority has no meaning, but HTTP/2 requires a valid one.
    transport("http://localhost".to_owned())?.connect_with_connector(service_fn(connect)).await
}

/// Connects to a port, now and after each loss of the connection. Each time the token file is read again.
async fn open_tcp(
    endpoint: &Endpoint,
    address: String,
    credentials: Option<&Arc<Credentials>>,
    timeout: Duration,
) -> Result<Channel, tonic::transport::Error> {
    // The scheme is http with TLS, too, which the connector adds.
    let transport = transport(format!("http://{address}"))?;
    if let Endpoint::PlainTcp { .. } = endpoint {
        let connect = move |_| within(timeout, tcp::plain(address.clone()));
        return transport.connect_with_connector(service_fn(connect)).await;
    }
    let credentials = credentials.cloned();
    let connect = move |_| within(timeout, tcp::secured(address.clone(), credentials.clone()));
    transport.connect_with_connector(service_fn(connect)).await
}

/// Returns the settings of every connection: how often it is probed.
pub(crate) fn transport(authority: String) -> Result<Transport, tonic::transport::Error> {
    let transport = Transport::from_shared(authority)?
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(transport)
}

/// Fails with `TimedOut` if connecting takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
