//! A Unix socket of the broker, its own or an inherited one, and the watch of its path.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    bound::BoundSocket,
    inherited::{InheritedPlace, InheritedSocket},
    path_watch::{Kept, PathGuard},
    socket_watch::{self, KeptSocket, Listener},
};
use crate::{
    config::ListenConfig,
    listen::{BindError, SocketLoss},
};

/// A Unix socket that clients can connect to.
#[derive(Debug)]
pub(in crate::listen) struct LocalSocket(Source);

#[derive(Debug)]
enum Source {
    /// The broker has made it.
    Own(Box<BoundSocket>),
    /// The broker was started with it.
    Inherited(InheritedSocket),
}

/// The watch of a socket's path. Dropping it removes the socket, but not an inherited one.
#[derive(Debug)]
pub(in crate::listen) struct SocketGuard {
    watch: Watch,
    path: PathBuf,
}

#[derive(Debug)]
enum Watch {
    Own(PathGuard<KeptSocket>),
    Inherited(PathGuard<InheritedPlace>),
}

impl LocalSocket {
    /// Takes the socket of `config`.
    ///
    /// # Errors
    /// [`BindError`], for the reasons of [`BoundSocket::bind`].
    pub(in crate::listen) fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        Ok(Self(Source::Own(Box::new(BoundSocket::bind(config)?))))
    }

    /// A socket that the broker was started with.
    pub(super) fn inherit(socket: InheritedSocket) -> Self {
        Self(Source::Inherited(socket))
    }

    /// Whether it is an inherited socket at `path`.
    pub(in crate::listen) fn is_inherited_at(&self, path: &Path) -> bool {
        matches!(self.0, Source::Inherited(_)) && self.path() == path
    }

    /// Starts to listen, and to watch the path. Must be called inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub(in crate::listen) fn listen(self) -> io::Result<(Listener, SocketGuard)> {
        let path = self.path().to_owned();
        match self.0 {
            Source::Own(socket) => {
                let (listener, guard) = socket.listen()?;
                Ok((listener, SocketGuard { watch: Watch::Own(guard), path }))
            }
            Source::Inherited(InheritedSocket { listener, place }) => {
                let (listener, guard) = socket_watch::start_inherited(listener, place)?;
                Ok((listener, SocketGuard { watch: Watch::Inherited(guard), path }))
            }
        }
    }

    /// The path of the socket.
    pub(in crate::listen) fn path(&self) -> &Path {
        match &self.0 {
            Source::Own(socket) => socket.path(),
            Source::Inherited(socket) => socket.place.path(),
        }
    }
}

impl SocketGuard {
    /// Does not wait: the system keeps the last bytes for clients that have not read them.
    pub(in crate::listen) async fn closed(&self) {}

    /// Waits until new clients do not reach the broker on this socket. Cancel-safe.
    pub(in crate::listen) async fn lost(&self) -> SocketLoss {
        let path = self.path.clone();
        match &self.watch {
            Watch::Own(guard) => {
                guard.taken().await;
                SocketLoss::Taken(path)
            }
            Watch::Inherited(guard) => {
                guard.taken().await;
                SocketLoss::Gone(path)
            }
        }
    }
}
