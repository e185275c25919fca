//! The listeners: one broker per socket, who may reach it, how many connections at a time, and how long they may idle.
//!
//! ```text
//! config ── Bound::bind ──► bound ── incoming ──► Incoming (connections for tonic)  +  SocketGuard (until the drain is over)
//! ```
//!
//! The Unix socket is always there; the TCP port only if the configuration names one.

mod connection;
mod incoming;
mod occupancy;
#[cfg(unix)]
#[path = "unix.rs"]
mod os;
mod peer;
#[cfg(unix)]
mod peer_process;
mod slots;
mod tcp;

use std::{io, net::SocketAddr, path::PathBuf};

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use self::{
    connection::Connection,
    incoming::Incoming,
    occupancy::ConnectionCount,
    os::{BoundSocket, SocketGuard},
    peer::{CallGuard, Peer, Source},
};
use self::{incoming::Listener, tcp::BoundPort};
use crate::config::ListenConfig;

/// Streams that HTTP/2 lets a connection have open: more than the calls that are served, so that a call too many is refused in the
/// contract's words and not by a bare reset.
pub const MAX_CONCURRENT_STREAMS: u32 = 512;

/// Bytes of request bodies that may be under way to the broker and not read yet: of one stream, and of one connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// The header bytes of one request that HTTP/2 lets pass, in its own count: more than a request may have, so that one with too many is
/// refused in the contract's words. Beyond this the answer is a bare 431.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// A server with our HTTP/2 settings.
pub fn http2_server(config: &ListenConfig) -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(config.keep_alive_interval))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout))
}

/// All that clients can connect to; nobody answers yet.
#[derive(Debug)]
pub struct Bound {
    socket: BoundSocket,
    port: Option<BoundPort>,
}

impl Bound {
    /// Takes the socket and the port of `config`, the socket first: who has that is the broker.
    ///
    /// # Errors
    /// [`BindError`], as [`BoundSocket::bind`].
    pub fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        Ok(Self { socket: BoundSocket::bind(config)?, port: config.tcp.map(BoundPort::bind).transpose()? })
    }

    /// The address of the TCP port, with the number that was given for port 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(BoundPort::address)
    }

    /// Starts to accept clients, until `shutdown`: then the listeners close at once. The guard is to be kept until the
    /// readers are free, so that no other broker starts before. Call it inside a runtime.
    ///
    /// # Errors
    /// When the runtime cannot take a listener.
    pub fn incoming(self, config: &ListenConfig, shutdown: CancellationToken) -> io::Result<(Incoming, SocketGuard)> {
        let (socket, guard) = self.socket.listen()?;
        let port = self.port.map(BoundPort::listen).transpose()?;
        let listeners = [Some(Listener::Local(socket)), port.map(Listener::Tcp)];
        Ok((Incoming::start(listeners.into_iter().flatten(), config, shutdown), guard))
    }
}

/// Why the broker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another broker does.
    #[error("a broker is already running on {}", socket.display())]
    AlreadyRunning {
        /// Its socket.
        socket: PathBuf,
    },
    /// The place of the socket is not safe or not fit.
    #[error("cannot listen on {}: {problem}", socket.display())]
    Unfit {
        /// The socket.
        socket: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The operating system refused something.
    #[error("cannot listen on {}: cannot {action}: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Another program listens on the TCP port.
    #[error("cannot listen on {address}: another program does: choose another port (listen.tcp)")]
    PortTaken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refused the TCP port.
    #[error("cannot listen on {address}: {source}")]
    Port {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
