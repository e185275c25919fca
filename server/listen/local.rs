//! A Unix socket of the broker, its own or an inherited one, and the watch of its path.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    SocketLoss,
    inherited::{InheritedPlace, InheritedSocket},
    os::{BoundSocket, Listener},
    path_watch::{Kept, PathGuard},
    socket_watch::{self, KeptSocket},
};

/// A Unix socket that clients can connect to.
#[derive(Debug)]
pub(super) enum LocalSocket {
    /// The broker has made it.
    Own(Box<BoundSocket>),
    /// The broker was started with it.
    Inherited(InheritedSocket),
}

/// The watch of a socket's path. Dropping it removes the socket, but not an inherited one.
#[derive(Debug)]
pub(super) enum SocketGuard {
    Own(PathGuard<KeptSocket>, PathBuf),
    Inherited(PathGuard<InheritedPlace>, PathBuf),
}

impl LocalSocket {
    /// Starts to listen, and to watch the path. Must be called inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub(super) fn listen(self) -> io::Result<(Listener, SocketGuard)> {
        let path = self.path().to_owned();
        match self {
            Self::Own(socket) => {
                let (listener, guard) = socket.listen()?;
                Ok((listener, SocketGuard::Own(guard, path)))
            }
            Self::Inherited(InheritedSocket { listener, place }) => {
                let (listener, guard) = socket_watch::start_inherited(listener, place)?;
                Ok((listener, SocketGuard::Inherited(guard, path)))
            }
        }
    }

    /// The path of the socket.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Own(socket) => socket.path(),
            Self::Inherited(socket) => socket.place.path(),
        }
    }
}

impl SocketGuard {
    /// Waits until new clients do not reach the broker on this socket. Cancel-safe.
    pub(super) async fn lost(&self) -> SocketLoss {
        match self {
            Self::Own(guard, path) => {
                guard.taken().await;
                SocketLoss::Taken(path.clone())
            }
            Self::Inherited(guard, path) => {
                guard.taken().await;
                SocketLoss::Gone(path.clone())
            }
        }
    }
}
