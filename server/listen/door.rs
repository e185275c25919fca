//! The socket of the front door for PC/SC programs, with the lock, the folder and the watch of the broker's own socket.

use cardbroker_core::caller::Caller;
use tokio::net::UnixStream;

use super::{
    incoming::{ConnectionNumbers, persist},
    os::Listener,
};

/// The socket of the door, while programs are accepted. Dropping it closes the socket.
#[derive(Debug)]
pub struct DoorListener {
    pub(super) listener: Listener,
    /// Numbers for connections, shared with the other sockets.
    pub(super) numbers: ConnectionNumbers,
}

impl DoorListener {
    /// Accepts the next program. Retries with pauses while the system cannot accept.
    pub async fn accept(&self) -> (UnixStream, Caller) {
        persist(|| self.listener.accept(|| self.numbers.next())).await
    }
}
