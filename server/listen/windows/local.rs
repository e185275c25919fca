//! A pipe of the broker, in the form that the other listeners expect of a local socket.

use std::{future, io, path::Path};

use super::{
    super::SocketLoss,
    accept::Listener,
    inherited::InheritedSocket,
    pipe::{BoundSocket, PipeLock},
};

/// A pipe that clients can open.
#[derive(Debug)]
pub(in crate::listen) enum LocalSocket {
    /// The broker has made it.
    Own(Box<BoundSocket>),
    /// A service manager has made it, which none does here.
    Inherited(InheritedSocket),
}

/// The exclusive right to the pipe. The pipe itself goes with its last instance.
#[derive(Debug)]
pub(in crate::listen) struct SocketGuard {
    _lock: PipeLock,
}

impl LocalSocket {
    /// Starts to listen. Must be called inside a runtime.
    ///
    /// # Errors
    /// None.
    pub(in crate::listen) fn listen(self) -> io::Result<(Listener, SocketGuard)> {
        match self {
            Self::Own(socket) => {
                let (listener, lock) = socket.listen();
                Ok((listener, SocketGuard { _lock: lock }))
            }
            Self::Inherited(none) => match none {},
        }
    }

    /// The path of the pipe.
    pub(in crate::listen) fn path(&self) -> &Path {
        match self {
            Self::Own(socket) => socket.path(),
            Self::Inherited(none) => match *none {},
        }
    }
}

impl SocketGuard {
    /// Waits for ever: nobody can remove or replace a pipe.
    pub(in crate::listen) async fn lost(&self) -> SocketLoss {
        future::pending().await
    }
}
