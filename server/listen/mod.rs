//! The listener: one broker per socket, who may reach it, how many connections at a time, and how long they may idle.
//!
//! ```text
//! config ── BoundSocket::bind ──► bound ── incoming ──► Incoming (connections for tonic)  +  SocketGuard (until the drain is over)
//! ```

mod connection;
mod incoming;
#[cfg(unix)]
#[path = "unix.rs"]
mod os;

use std::{io, path::PathBuf};

use tonic::transport::Server;

pub use self::{
    connection::{Connection, Peer},
    incoming::{ConnectionCount, Incoming},
    os::{BoundSocket, SocketGuard},
};
use crate::config::ListenConfig;

/// Streams that one connection may have open. Above the limit of waiting requests per caller, so that watch streams and
/// health checks find room beside a full queue.
pub const MAX_CONCURRENT_STREAMS: u32 = 1_024;

/// The most header bytes of one request, in HTTP/2's count.
pub const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;

/// A server with our HTTP/2 settings.
pub fn http2_server(config: &ListenConfig) -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(config.keep_alive_interval))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout))
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
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
