//! Why the broker cannot listen, or is not found any more.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::caller::certificate::TlsIdentityError;

/// Why the broker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another broker owns the socket.
    #[error("a broker is already running on {}", socket.display())]
    AlreadyRunning {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// Windows does not grant the pipe to this user.
    #[error(
        "cannot listen on {}: Windows refuses the pipe: it is another user's, or only administrators may make it",
        socket.display()
    )]
    NotGranted {
        /// The path of the pipe.
        socket: PathBuf,
    },
    /// A socket that the process was started with cannot be used.
    #[error("cannot use the sockets from the service manager (LISTEN_FDS): {problem}")]
    Inherited {
        /// The problem, and its remedy.
        problem: String,
    },
    /// The path of an inherited socket does not lead to it.
    #[error("{}", gone(socket))]
    Gone {
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
    Identity(#[from] TlsIdentityError),
}

/// The message about an inherited socket that was removed or replaced.
pub(crate) fn gone(socket: &Path) -> String {
    format!(
        "the socket {} was removed or replaced after the service manager had opened it, so new clients do not find \
         this broker: restart both (systemctl restart cardbrokerd.socket cardbrokerd.service; for a user's: systemctl \
         --user)",
        socket.display()
    )
}
