//! The listeners: one broker per socket, access to it, and limits on the number and the idle time of connections.
//!
//! ```text
//! config ── Bound::bind ──┐
//!                         ├──► bound ── incoming ──► Incoming (connections for tonic)
//! Inherited ── inherit ───┘                     └──► ListenGuard (until the drain is over)
//! ```
//!
//! The Unix socket always exists; the TCP port only if the configuration sets one. Sockets that a service manager has
//! opened take the place of both, and belong to it. The door for PC/SC programs has a further Unix socket.
//!
//! The local transport of an operating system is one module, `unix` or `windows`, which everything else calls `os`:
//!
//! | item of `os` | what it must do |
//! | --- | --- |
//! | `LocalSocket` | `bind` takes the configured place, or names the broker that holds it; `listen` starts to accept |
//! | `Listener` | `accept` returns the next client's bytes and its [`Caller`](cardbroker_core::caller::Caller) |
//! | `Stream` | the bytes of a client: asynchronous reads and writes |
//! | `SocketGuard` | `lost` waits for the loss of the place, `closed` for the last reads; the drop gives it back |
//! | `check` | refuses a default place that clients would not trust |
//! | `system_broker` | whether the system's broker serves, too |
//! | `EndpointPlace`, `AutoPort`, `EndpointGuard` | the endpoint file of `--tcp auto`: taken, written, kept |
//! | `Inherited` | the sockets from a service manager, without a value where there is none |
//! | `Door*`, `Private*` | the sockets of the door, without a value where there is none |

mod budgets;
mod burst;
mod checks;
mod connection;
mod error;
mod incoming;
mod occupancy;
mod pace;
mod peer;
mod slots;
mod tcp;
mod tls;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use self::unix as os;
#[cfg(windows)]
use self::windows as os;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    task::Poll,
};

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use self::{
    checks::{CheckRoom, ConnectionChecks},
    connection::Connection,
    error::BindError,
    incoming::Incoming,
    occupancy::ConnectionCount,
    os::{DoorBudgets, DoorListener, DoorListeners, Inherited, PrivateListeners, PrivateSocket, system_broker},
    peer::{CallGuard, MessageBytes, Peer, Source},
};
pub(crate) use self::{error::gone, os::Stream as LocalStream};
use self::{
    incoming::Listener,
    os::{AutoPort, DoorSocket, EndpointGuard, EndpointPlace, LocalSocket, SocketGuard},
    tcp::BoundPort,
};
use crate::{
    caller::own_token::OwnToken,
    config::{ListenConfig, TcpPort},
};

/// Maximum open streams of a connection in HTTP/2: more than the served calls, so that a call beyond those gets a
/// failure of the contract and not a bare reset.
pub const MAX_CONCURRENT_STREAMS: u32 = 512;

/// Maximum unread bytes of request bodies, both of one stream and of one connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// Maximum header bytes of one request in HTTP/2, by its own count: more than the contract allows, so that a request
/// with too many gets a failure of the contract. Beyond this the answer is a bare 431.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Returns a server with the HTTP/2 settings of the broker.
pub fn http2_server(config: &ListenConfig) -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(config.keep_alive_interval))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout))
}

/// The sockets that clients can connect to. No connection is accepted yet.
#[derive(Debug)]
pub struct Bound {
    /// The sockets for clients: an own one, or all inherited ones but the door's.
    sockets: Vec<LocalSocket>,
    ports: Vec<BoundPort>,
    door: Option<DoorSocket>,
}

/// The things by which clients find a broker: the endpoint file and the exclusive right to the socket. Dropping
/// it removes both, the socket last. Inherited sockets stay.
#[derive(Debug)]
pub struct ListenGuard {
    endpoint_file: Option<EndpointGuard>,
    sockets: Vec<SocketGuard>,
}

/// Why new clients do not reach this broker any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketLoss {
    /// Another broker has the path of this socket, and its lock.
    Taken(PathBuf),
    /// This inherited socket was removed or replaced, and only its owner may make it again.
    Gone(PathBuf),
}

impl ListenGuard {
    /// Removes the endpoint file, where that may have to wait for other programs. Meanwhile, with `waits_for_clients`,
    /// waits until they have read the last bytes of connections that have ended, where the system does not keep them.
    /// Takes a second at most.
    pub async fn close(&mut self, waits_for_clients: bool) {
        let Self { endpoint_file, sockets } = self;
        let remove = async {
            if let Some(file) = endpoint_file {
                file.remove().await;
            }
        };
        let wait = async {
            for guard in sockets.iter().filter(|_| waits_for_clients) {
                guard.closed().await;
            }
        };
        tokio::join!(remove, wait);
    }

    /// Waits until new clients do not reach the broker on one of its sockets. Cancel-safe.
    pub async fn lost(&self) -> SocketLoss {
        let mut losses: Vec<_> = self.sockets.iter().map(|guard| Box::pin(guard.lost())).collect();
        poll_fn(|context| {
            let ended = losses.iter_mut().find_map(|loss| match Pin::new(loss).poll(context) {
                Poll::Ready(loss) => Some(loss),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Bound {
    /// Takes the place of the endpoint file if there is to be one, then the socket and the port of `config`: the locks
    /// decide which process is the broker. The first time with a port, makes the certificate for TLS.
    ///
    /// # Errors
    /// [`BindError`], for the reasons of [`Bound::with_door`], if clients would not trust a default socket, or if the
    /// TCP port is not available, has no certificate, or could not be found by its endpoint file.
    pub fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        os::check(&config.socket)?;
        let endpoint = (config.tcp == Some(TcpPort::Auto)).then(EndpointPlace::prepare).transpose()?;
        let socket = LocalSocket::bind(config)?;
        let port = config.tcp.map(|port| BoundPort::bind(port, endpoint, config)).transpose()?;
        Ok(Self { sockets: vec![socket], ports: port.into_iter().collect(), door: None })
    }

    /// Takes the sockets that the process was started with. The rest of `config` holds for them as for own ones; the
    /// first time with a TCP socket, makes the certificate for TLS.
    ///
    /// # Errors
    /// [`BindError`], if another broker has one of the paths, clients would not trust a default one, or a TCP socket
    /// has no certificate.
    pub fn inherit(inherited: Inherited, config: &ListenConfig) -> Result<Self, BindError> {
        let (sockets, ports) = inherited.into_sockets()?;
        let ports = ports.into_iter().map(|listener| BoundPort::inherit(listener, config));
        Ok(Self { sockets, ports: ports.collect::<Result<_, _>>()?, door: None })
    }

    /// Adds the door for PC/SC programs at `path`, if there is to be one: the inherited socket with this path, or
    /// else an own socket with mode and group of the socket of `config`.
    ///
    /// # Errors
    /// [`BindError`], if another broker runs, the path or its folder is unsafe or unusable, or the system has no door.
    pub fn with_door(mut self, config: &ListenConfig, path: Option<&Path>) -> Result<Self, BindError> {
        let Some(path) = path else { return Ok(self) };
        let inherited = self.sockets.iter().position(|socket| socket.is_inherited_at(path));
        let inherited = inherited.map(|index| self.sockets.remove(index));
        self.door = Some(DoorSocket::take(inherited, path, config)?);
        Ok(self)
    }

    /// The address of the TCP port, the first one if there are several, with the number that the system chose for
    /// port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.ports.first().map(BoundPort::address)
    }

    /// The token of `--tcp auto`.
    pub fn own_token(&self) -> Option<OwnToken> {
        Some(self.ports.first()?.auto.as_ref()?.token().clone())
    }

    /// Starts to accept clients, until `shutdown`: then the listeners close at once. The door's listener is left to the
    /// caller, with the sockets of private doors. Keep the guard until the readers are free, so that no other broker
    /// starts before. Call it inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take a listener.
    pub fn incoming(
        self,
        config: &ListenConfig,
        shutdown: CancellationToken,
    ) -> io::Result<(Incoming, Option<DoorListeners>, ListenGuard)> {
        let listened = self.sockets.into_iter().map(LocalSocket::listen).collect::<io::Result<Vec<_>>>()?;
        let (listeners, mut sockets): (Vec<_>, Vec<_>) = listened.into_iter().unzip();
        let door = self.door.map(DoorSocket::listen).transpose()?;
        let mut ports = self.ports;
        let auto = ports.first_mut().and_then(|port| port.auto.take());
        let endpoint_file = auto.map(AutoPort::keep);
        let ports = ports.into_iter().map(BoundPort::listen).collect::<io::Result<Vec<_>>>()?;
        let listeners = listeners.into_iter().map(Listener::Local).chain(ports.into_iter().map(Listener::Tcp));
        let incoming = Incoming::start(listeners, config, shutdown);
        let door = door.map(|(door, guard)| {
            sockets.push(guard);
            DoorListeners::new(door, incoming.numbers(), incoming.budgets())
        });
        Ok((incoming, door, ListenGuard { endpoint_file, sockets }))
    }
}
