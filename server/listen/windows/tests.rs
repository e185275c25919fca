//! The accept loop with clients in this process.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{caller::Identity, user::SystemUser};
use cardbroker_local::socket::SYSTEM_SOCKET;
use cardbroker_pipe::{connect, is_busy, pipe_exists};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::windows::named_pipe::NamedPipeClient,
    time::{sleep, timeout},
};

use super::{
    accept::{Listener, MAX_SILENT},
    default_socket::system_broker,
    pipe::{BoundPipe, PipeLock, group},
    stream::Closing,
};
use crate::{
    config::{ListenConfig, PipeGroup, SocketGroup},
    listen::BindError,
    policy::accounts,
};

const LONGEST: Duration = Duration::from_secs(20);

/// A configuration with a pipe of its own.
fn config() -> (ListenConfig, String) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let pipe = format!(r"\\.\pipe\cardbroker\unit-{}-{number}", std::process::id());
    (ListenConfig { socket: pipe.clone().into(), ..ListenConfig::default() }, pipe)
}

fn listen() -> (Listener, (Arc<PipeLock>, Closing), String) {
    let ((config, pipe), closing) = (config(), Closing::default());
    let (listener, lock) = BoundPipe::bind(&config).unwrap().listen(&closing);
    (listener, (lock, closing), pipe)
}

/// Waits until the condition holds.
async fn wait_until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONGEST);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Opens the pipe, again while it is busy.
async fn open(pipe: &str) -> NamedPipeClient {
    loop {
        match connect(pipe) {
            Ok(client) => return client,
            Err(error) => assert!(is_busy(&error), "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_client_is_known_once_it_has_sent_something() {
    let (listener, _lock, pipe) = listen();
    let silent = open(&pipe).await;
    let mut client = open(&pipe).await;
    client.write_all(b"hello").await.unwrap();
    let (mut stream, caller) = timeout(LONGEST, listener.accept(|| 7)).await.unwrap().unwrap();
    assert_eq!((caller.identity, caller.connection), (Identity::User(accounts::own_account()), 7));
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello", "the bytes that named the user are still there");
    drop(silent);
}

#[tokio::test]
async fn silent_clients_do_not_keep_others_away() {
    let (listener, _lock, pipe) = listen();
    let mut silent = Vec::new();
    // Some more: the first ones may be noticed in another order than they came.
    for _ in 0..MAX_SILENT + 8 {
        silent.push(open(&pipe).await);
    }
    let mut client = open(&pipe).await;
    client.write_all(b"hello").await.unwrap();
    timeout(LONGEST, listener.accept(|| 1)).await.unwrap().unwrap();
    let end = timeout(LONGEST, silent[0].read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(end, Ok(1..)), "the first of them is closed: {end:?}");
    let newest = silent.last_mut().unwrap();
    assert!(
        timeout(Duration::from_millis(200), newest.read(&mut [0; 1])).await.is_err(),
        "the last one may still speak"
    );
}

#[tokio::test]
async fn the_name_goes_though_clients_hold_their_ends() {
    let (listener, (lock, closing), pipe) = listen();
    let _silent = open(&pipe).await;
    let mut client = open(&pipe).await;
    client.write_all(b"hello").await.unwrap();
    let (stream, _) = timeout(LONGEST, listener.accept(|| 1)).await.unwrap().unwrap();
    drop((listener, lock));
    assert!(pipe_exists(&pipe));
    drop(stream);
    wait_until(|| !pipe_exists(&pipe)).await;
    // Nothing is left to wait for.
    timeout(LONGEST, closing.wait()).await.unwrap();
}

#[tokio::test]
async fn the_last_bytes_reach_a_client_that_reads_late() {
    let (listener, (_lock, closing), pipe) = listen();
    let mut client = open(&pipe).await;
    client.write_all(b"hello").await.unwrap();
    let (mut stream, _) = timeout(LONGEST, listener.accept(|| 1)).await.unwrap().unwrap();
    stream.write_all(b"last").await.unwrap();
    drop(stream);
    let ((), read) = tokio::join!(closing.wait(), async {
        sleep(Duration::from_millis(50)).await;
        let mut bytes = [0; 4];
        client.read_exact(&mut bytes).await.map(|_| bytes)
    });
    assert_eq!(&read.unwrap(), b"last");
}

#[tokio::test]
async fn the_lock_stays_until_the_last_connection_is_closed() {
    let ((config, pipe), closing) = (config(), Closing::default());
    let (listener, lock) = BoundPipe::bind(&config).unwrap().listen(&closing);
    let mut client = open(&pipe).await;
    client.write_all(b"hello").await.unwrap();
    let (stream, _) = timeout(LONGEST, listener.accept(|| 1)).await.unwrap().unwrap();
    drop((listener, lock));
    sleep(Duration::from_millis(20)).await;
    assert!(matches!(BoundPipe::bind(&config), Err(BindError::AlreadyRunning { .. })));
    drop((stream, client));
    closing.wait().await;
    wait_until(|| BoundPipe::bind(&config).is_ok()).await;
}

#[tokio::test]
async fn the_services_broker_is_seen_while_it_serves() {
    let own = Path::new(r"\\.\pipe\cardbroker\own");
    assert_eq!(system_broker(own), None);
    let config = ListenConfig { socket: SYSTEM_SOCKET.into(), ..ListenConfig::default() };
    let serving = BoundPipe::bind(&config).unwrap();
    assert_eq!(system_broker(own), Some(Path::new(SYSTEM_SOCKET)));
    assert_eq!(system_broker(Path::new(SYSTEM_SOCKET)), None, "it is not another one");
    drop(serving);
    wait_until(|| system_broker(own).is_none()).await;
}

#[tokio::test]
async fn a_pipe_has_one_broker() {
    let (config, _) = config();
    let first = BoundPipe::bind(&config).unwrap();
    assert!(matches!(BoundPipe::bind(&config), Err(BindError::AlreadyRunning { .. })));
    drop(first);
    BoundPipe::bind(&config).unwrap();
}

#[tokio::test]
async fn a_group_opens_the_pipe_by_name_or_by_sid() {
    let everyone = "S-1-1-0";
    let name = accounts::user_name(SystemUser::windows(everyone.parse().unwrap())).unwrap();
    let with = |pipe_group: bool, socket_group: bool| ListenConfig {
        pipe_group: pipe_group.then(|| PipeGroup::try_from(everyone.to_owned()).unwrap()),
        socket_group: socket_group.then(|| SocketGroup::try_from(name.clone()).unwrap()),
        ..config().0
    };
    assert_eq!(group(&with(false, false)), Ok(None));
    for config in [with(true, false), with(false, true)] {
        assert_eq!(group(&config), Ok(Some(everyone.parse().unwrap())));
        BoundPipe::bind(&config).unwrap();
    }
    assert!(matches!(BoundPipe::bind(&with(true, true)), Err(BindError::Unfit { .. })));
}

#[tokio::test]
async fn a_path_that_is_no_pipe_is_refused() {
    for path in [r"C:\cardbroker.sock", r"\\server\pipe\x"] {
        let config = ListenConfig { socket: path.into(), ..ListenConfig::default() };
        assert!(matches!(BoundPipe::bind(&config), Err(BindError::Unfit { .. })), "{path}");
    }
}
