//! The socket of the front door for PC/SC programs, with the lock, the folder and the watch of the broker's own socket.

use std::{io, path::Path};

use cardbroker_core::caller::Caller;
use tokio::net::UnixStream;

use super::{
    BindError,
    incoming::{ConnectionNumbers, persist},
    os::{self, BoundSocket},
    path_watch::PathGuard,
    socket_watch::KeptSocket,
};
use crate::config::ListenConfig;

/// The socket of the door. No connection is accepted yet.
#[derive(Debug)]
pub struct BoundDoor(BoundSocket);

/// The socket of the door, while programs are accepted. Dropping it removes the socket.
#[derive(Debug)]
pub struct DoorListener {
    listener: os::Listener,
    _guard: PathGuard<KeptSocket>,
    numbers: ConnectionNumbers,
}

impl BoundDoor {
    /// Takes the path `socket`, with mode and group of the socket of `config`.
    ///
    /// # Errors
    /// The same as of [`BoundSocket::bind`].
    pub fn bind(config: &ListenConfig, socket: &Path) -> Result<Self, BindError> {
        BoundSocket::bind(&ListenConfig { socket: socket.into(), ..config.clone() }).map(Self)
    }

    /// Starts to listen. Connections get the next of `numbers`. Call it inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub fn listen(self, numbers: ConnectionNumbers) -> io::Result<DoorListener> {
        let (listener, guard) = self.0.listen()?;
        Ok(DoorListener { listener, _guard: guard, numbers })
    }
}

impl DoorListener {
    /// Accepts the next program. Retries with pauses while the system cannot accept.
    pub async fn accept(&self) -> (UnixStream, Caller) {
        persist(|| self.listener.accept(|| self.numbers.next())).await
    }
}
