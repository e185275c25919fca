//! Whether a socket of the service manager listens. macOS does not say so; there, a socket without a peer counts as
//! listening.

#[cfg(not(target_vendor = "apple"))]
pub(super) use rustix::net::sockopt::socket_acceptconn as is_accepting;

/// Whether the socket is no connection.
#[cfg(target_vendor = "apple")]
pub(super) fn is_accepting(socket: impl std::os::fd::AsFd) -> rustix::io::Result<bool> {
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(false),
        Err(rustix::io::Errno::NOTCONN) => Ok(true),
        Err(error) => Err(error),
    }
}
