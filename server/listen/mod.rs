//! The listeners: one broker per socket, access to it, and limits on the number and the idle time of connections.
//!
//! ```text
//! config ── Bound::bind ──► bound ── incoming ──► Incoming (connections for tonic)
//!                                             └──► ListenGuard (until the drain is over)
//! ```
//!
//! The Unix socket always exists; the TCP port only if the configuration sets one.

#[cfg(unix)]
mod auto_port;
mod budgets;
mod burst;
mod connection;
#[cfg(unix)]
mod default_socket;
#[cfg(unix)]
mod folder_watch;
mod incoming;
#[cfg(unix)]
mod lock_file;
mod occupancy;
#[cfg(unix)]
#[path = "unix.rs"]
mod os;
mod pace;
#[cfg(unix)]
mod path_watch;
mod peer;
#[cfg(unix)]
mod peer_process;
mod slots;
#[cfg(unix)]
mod socket_watch;
mod tcp;
mod tls;

use std::{future, io, net::SocketAddr, path::PathBuf};

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use self::{auto_port::PublishedFile, incoming::Listener, os::SocketGuard, path_watch::PathGuard, tcp::BoundPort};
pub use self::{
    connection::Connection,
    default_socket::system_broker,
    incoming::Incoming,
    occupancy::ConnectionCount,
    os::BoundSocket,
    peer::{CallGuard, MessageBytes, Peer, Source},
};
use crate::{
    caller::{certificate::IdentityError, own_token::OwnToken},
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
    socket: BoundSocket,
    port: Option<BoundPort>,
}

/// What clients find the broker by, while it exists: the endpoint file and the exclusive right to the socket. Dropping
/// it removes both, the socket last.
#[derive(Debug)]
pub struct ListenGuard {
    _endpoint_file: Option<PathGuard<PublishedFile>>,
    socket: SocketGuard,
}

impl ListenGuard {
    /// Waits until another broker has taken the path of the socket. Cancel-safe.
    pub async fn taken(&self) {
        self.socket.taken().await;
    }
}

impl Bound {
    /// Takes the place of the endpoint file if there is to be one, then the socket and the port of `config`: the locks
    /// decide which process is the broker. The first time with a port, makes the certificate for TLS.
    ///
    /// # Errors
    /// [`BindError`], for the reasons of [`BoundSocket::bind`], if clients would not trust a default socket, or if the
    /// TCP port is not available, has no certificate, or could not be found by its endpoint file.
    pub fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        default_socket::check(&config.socket)?;
        let endpoint = (config.tcp == Some(TcpPort::Auto)).then(auto_port::prepare).transpose()?;
        let socket = BoundSocket::bind(config)?;
        let port = config.tcp.map(|port| BoundPort::bind(port, endpoint, config)).transpose()?;
        Ok(Self { socket, port })
    }

    /// The address of the TCP port, with the number that the system chose for port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(BoundPort::address)
    }

    /// The token of `--tcp auto`.
    pub fn own_token(&self) -> Option<OwnToken> {
        Some(self.port.as_ref()?.auto.as_ref()?.token.clone())
    }

    /// Starts to accept clients, until `shutdown`: then the listeners close at once. Keep the guard until the readers
    /// are free, so that no other broker starts before. Call it inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take a listener.
    pub fn incoming(self, config: &ListenConfig, shutdown: CancellationToken) -> io::Result<(Incoming, ListenGuard)> {
        let (socket, guard) = self.socket.listen()?;
        let mut port = self.port;
        let auto = port.as_mut().and_then(|port| port.auto.take());
        let endpoint_file = auto.map(|auto| PathGuard::start(auto.file, future::pending()));
        let guard = ListenGuard { _endpoint_file: endpoint_file, socket: guard };
        let port = port.map(BoundPort::listen).transpose()?;
        let listeners = [Some(Listener::Local(socket)), port.map(Listener::Tcp)];
        Ok((Incoming::start(listeners.into_iter().flatten(), config, shutdown), guard))
    }
}

/// Why the broker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another broker owns the socket.
    #[error("a broker is already running on {}", socket.display())]
    AlreadyRunning {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// No socket is configured, and the user has no runtime folder for the default one.
    #[error(
        "no socket to listen on: XDG_RUNTIME_DIR is unset or no folder, and there is no /run/user/{user}: name a \
         socket with --socket or listen.socket"
    )]
    NoSocket {
        /// The number of the broker's user.
        user: u32,
    },
    /// The path of the socket or its folder is unsafe or unusable.
    #[error("cannot listen on {}: {problem}", socket.display())]
    Unfit {
        /// The path of the socket.
        socket: PathBuf,
        /// The problem, and its remedy.
        problem: String,
    },
    /// The operating system refused something.
    #[error("cannot listen on {}: cannot {action}: {source}", socket.display())]
    Io {
        /// The path of the socket.
        socket: PathBuf,
        /// The step that failed, after "cannot".
        action: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another program listens on the TCP port.
    #[error("cannot listen on {address}: another program does: choose another port (listen.tcp)")]
    PortTaken {
        /// The TCP address in the configuration.
        address: SocketAddr,
    },
    /// The operating system refused the TCP port.
    #[error("cannot listen on {address}: {source}")]
    Port {
        /// The TCP address in the configuration.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// There is no folder for the endpoint file of `--tcp auto`.
    #[error(
        "no place for the endpoint file of --tcp auto: XDG_RUNTIME_DIR is unset or no folder, and there is no \
         /run/user/{user}: set XDG_RUNTIME_DIR to a folder of your own, or choose a port (--tcp 127.0.0.1:7777)"
    )]
    NoEndpointFolder {
        /// The number of the broker's user.
        user: u32,
    },
    /// The endpoint file of `--tcp auto` belongs to another broker of the user.
    #[error(
        "another broker of this user already has a port by --tcp auto ({}{}): stop it, or choose a port \
         (--tcp 127.0.0.1:7777)",
        pid.map(|pid| format!("process {pid}, ")).unwrap_or_default(),
        file.display()
    )]
    OtherAutoPort {
        /// The path of the endpoint file.
        file: PathBuf,
        /// The number of the other broker's process, if the file tells it.
        pid: Option<u32>,
    },
    /// The endpoint file of `--tcp auto` cannot be written, or clients would not trust it.
    #[error("cannot write the endpoint file {}: {problem}", file.display())]
    EndpointFile {
        /// The path of the endpoint file.
        file: PathBuf,
        /// The problem, and its remedy.
        problem: String,
    },
    /// The TCP port has no certificate that can be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
