//! Tests of accepting, counting and closing connections.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use cardbroker_core::{
    caller::{Caller, CallerKey, Principal},
    user::SystemUser,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::place;
use crate::{
    config::{ListenConfig, TcpPort},
    listen::{
        BindError, Bound, Connection, Incoming, ListenGuard, Peer, Source, http2_server, tcp::BoundPort,
        unix::bound::BoundSocket,
    },
};

/// A client's first bytes without a request: HTTP/2's preface and an empty SETTINGS frame.
const HANDSHAKE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("takes too long")
}

fn start(config: &ListenConfig, shutdown: &CancellationToken) -> (Incoming, ListenGuard) {
    let (incoming, _, guard) = Bound::bind(config).unwrap().incoming(config, shutdown.clone()).unwrap();
    (incoming, guard)
}

fn source(connection: &Connection) -> Source {
    tonic::transport::server::Connected::connect_info(connection).source
}

fn local(connection: &Connection) -> Caller {
    match source(connection) {
        Source::Local(caller) => caller,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn both_listeners_share_slots_and_numbers() {
    let (_folder, mut config) = place();
    config.max_connections = 2;
    config.max_connections_per_user = Some(2);
    config.tcp = Some("127.0.0.1:0".parse().unwrap());
    let bound = Bound::bind(&config).unwrap();
    let address = bound.tcp_address().unwrap();
    let (mut incoming, _, _guard) = bound.incoming(&config, CancellationToken::new()).unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let Ok(first) = soon(incoming.next()).await.unwrap();
    let Source::Tcp { connection: 1, client: seen, server } = source(&first) else { panic!("{:?}", source(&first)) };
    assert_eq!((seen, server), (client.local_addr().unwrap(), address));
    let _local = UnixStream::connect(&config.socket).await.unwrap();
    let Ok(second) = soon(incoming.next()).await.unwrap();
    assert_eq!((local(&second).connection, incoming.count().open()), (2, 2));
    let _waiting = TcpStream::connect(address).await.unwrap();
    tokio::time::timeout(Duration::from_millis(100), incoming.next()).await.unwrap_err();
    drop(second);
    soon(incoming.next()).await.unwrap().unwrap();
    assert!(matches!(BoundPort::bind(TcpPort::At(address), None, &config), Err(BindError::PortTaken { .. })));
}

#[tokio::test]
async fn connections_of_this_process_are_one_caller() {
    let (_folder, config) = place();
    let (mut incoming, _guard) = start(&config, &CancellationToken::new());
    let mut callers = Vec::new();
    for _ in 0..2 {
        let _client = UnixStream::connect(&config.socket).await.unwrap();
        let Ok(connection) = soon(incoming.next()).await.unwrap();
        callers.push(local(&connection));
    }
    let [first, second] = &callers[..] else { panic!() };
    assert_eq!(
        (first.pid, first.principal()),
        (Some(std::process::id()), Principal::User(SystemUser::unix(rustix::process::getuid().as_raw())))
    );
    assert_eq!(first.executable.as_deref(), std::env::current_exe().ok().as_deref());
    assert_eq!((first.connection, second.connection), (1, 2));
    assert_eq!(first.key, second.key);
    assert!(cfg!(not(target_os = "linux")) || matches!(first.key, CallerKey::Process { .. }));
}

#[tokio::test]
async fn a_client_beyond_the_limit_waits_for_a_free_slot() {
    let (_folder, mut config) = place();
    config.max_connections = 2;
    config.max_connections_per_user = Some(2);
    let (mut incoming, _guard) = start(&config, &CancellationToken::new());
    let count = incoming.count();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(UnixStream::connect(&config.socket).await.unwrap());
    }
    let first = soon(incoming.next()).await;
    let _second = soon(incoming.next()).await;
    assert_eq!(count.open(), 2);
    tokio::time::timeout(Duration::from_millis(100), incoming.next()).await.unwrap_err();
    drop(first);
    let _third = soon(incoming.next()).await;
    assert_eq!(count.open(), 2);
}

#[tokio::test]
async fn the_shutdown_closes_the_listener_and_keeps_the_lock() {
    let (_folder, config) = place();
    let shutdown = CancellationToken::new();
    let (mut incoming, guard) = start(&config, &shutdown);
    shutdown.cancel();
    assert!(soon(incoming.next()).await.is_none());
    UnixStream::connect(&config.socket).await.unwrap_err();
    assert!(matches!(BoundSocket::bind(&config).unwrap_err(), BindError::AlreadyRunning { .. }));
    drop(guard);
    BoundSocket::bind(&config).unwrap();
}

/// Serves health checks on `incoming`, which count as requests.
fn serve_health(config: &ListenConfig, incoming: Incoming) -> tokio::task::JoinHandle<()> {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let service = tonic::service::interceptor::InterceptedService::new(health, |request: Request<()>| {
        request.extensions().get::<Peer>().unwrap().request_seen();
        Ok(request)
    });
    let serving = http2_server(config).add_service(service).serve_with_incoming(incoming);
    tokio::spawn(async move { serving.await.unwrap() })
}

async fn check(config: &ListenConfig) -> Result<HealthClient<tonic::transport::Channel>, tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", config.socket.display())).unwrap();
    let mut client = HealthClient::new(endpoint.connect_lazy());
    soon(client.check(HealthCheckRequest::default())).await.map(|_| client)
}

#[tokio::test]
async fn clients_without_requests_exclude_no_client() {
    let (_folder, mut config) = place();
    config.max_connections = 8;
    let (incoming, _guard) = start(&config, &CancellationToken::new());
    let count = incoming.count();
    let server = serve_health(&config, incoming);
    let mut early = check(&config).await.unwrap();
    let mut silent = Vec::new();
    for number in 0..20 {
        let mut client = UnixStream::connect(&config.socket).await.unwrap();
        if number % 2 == 0 {
            client.write_all(HANDSHAKE).await.unwrap();
        }
        silent.push(client);
    }
    check(&config).await.unwrap();
    soon(early.check(HealthCheckRequest::default())).await.unwrap();
    assert!(count.open() <= 2, "three quarters of the slots are for other users");
    server.abort();
}

#[tokio::test]
async fn a_user_with_too_many_used_connections_is_refused() {
    let (_folder, mut config) = place();
    config.max_connections = 8;
    let (incoming, _guard) = start(&config, &CancellationToken::new());
    let server = serve_health(&config, incoming);
    let first = check(&config).await.unwrap();
    let mut second = check(&config).await.unwrap();
    check(&config).await.unwrap_err();
    drop(first);
    soon(async { while check(&config).await.is_err() {} }).await;
    soon(second.check(HealthCheckRequest::default())).await.unwrap();
    server.abort();
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_after_the_deadline() {
    let (_folder, mut config) = place();
    config.first_request_timeout = Duration::from_millis(300);
    let (incoming, _guard) = start(&config, &CancellationToken::new());
    let count = incoming.count();
    let server = serve_health(&config, incoming);
    let mut client = UnixStream::connect(&config.socket).await.unwrap();
    client.write_all(HANDSHAKE).await.unwrap();
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let flood = ping.repeat(1000);
    soon(async { while client.write_all(&flood).await.is_ok() {} }).await;
    soon(async {
        while count.open() != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.abort();
}

#[tokio::test]
async fn the_deadline_closes_only_connections_without_a_request() {
    let (_folder, mut config) = place();
    config.first_request_timeout = Duration::from_millis(300);
    let (incoming, _guard) = start(&config, &CancellationToken::new());
    let count = incoming.count();
    let callers: Arc<Mutex<Vec<Caller>>> = Arc::default();
    let seen = callers.clone();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let service = tonic::service::interceptor::InterceptedService::new(health, move |request: Request<()>| {
        let peer = request.extensions().get::<Peer>().unwrap();
        peer.request_seen();
        let Source::Local(caller) = &peer.source else { panic!("{peer:?}") };
        seen.lock().unwrap().push(caller.clone());
        Ok(request)
    });
    let server = tokio::spawn(http2_server(&config).add_service(service).serve_with_incoming(incoming));

    let endpoint = Endpoint::from_shared(format!("unix://{}", config.socket.display())).unwrap();
    let mut used = HealthClient::new(soon(endpoint.connect()).await.unwrap());
    soon(used.check(HealthCheckRequest::default())).await.unwrap();
    let mut silent = UnixStream::connect(&config.socket).await.unwrap();
    let mut greeting = UnixStream::connect(&config.socket).await.unwrap();
    greeting.write_all(HANDSHAKE).await.unwrap();
    for half_open in [&mut silent, &mut greeting] {
        let mut answer = Vec::new();
        // Closed, with or without a farewell.
        let _ = soon(half_open.read_to_end(&mut answer)).await;
    }
    // They came after the used one, so its deadline is over, too.
    soon(used.check(HealthCheckRequest::default())).await.unwrap();
    let callers = callers.lock().unwrap().clone();
    assert_eq!(callers.len(), 2);
    assert_eq!(callers[0].connection, callers[1].connection);
    soon(async {
        while count.open() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.abort();
}
