//! A pipe of the broker, in the form that the other listeners expect of a local socket.

use std::{future, io, path::Path, sync::Arc};

use super::{
    accept::Listener,
    pipe::{BoundPipe, PipeLock},
    stream::Closing,
};
use crate::{
    config::ListenConfig,
    listen::{BindError, SocketLoss},
};

/// A pipe that clients can open.
#[derive(Debug)]
pub(in crate::listen) struct LocalSocket(Box<BoundPipe>);

/// A share of the exclusive right to the pipe. The pipe itself, and the right, go with the last instance.
#[derive(Debug)]
pub(in crate::listen) struct SocketGuard {
    closing: Closing,
    _lock: Arc<PipeLock>,
}

impl LocalSocket {
    /// Takes the pipe of `config`. Must be called inside a runtime.
    ///
    /// # Errors
    /// [`BindError`], for the reasons of [`BoundPipe::bind`].
    pub(in crate::listen) fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        Ok(Self(Box::new(BoundPipe::bind(config)?)))
    }

    /// Whether a service manager has opened the socket at the path. None does on Windows.
    pub(in crate::listen) fn is_inherited_at(&self, _: &Path) -> bool {
        false
    }

    /// Starts to accept clients. Must be called inside a runtime. The result has the form of Unix, where this may fail.
    pub(in crate::listen) fn listen(self) -> io::Result<(Listener, SocketGuard)> {
        let closing = Closing::default();
        let (listener, lock) = self.0.listen(&closing);
        Ok((listener, SocketGuard { closing, _lock: lock }))
    }
}

impl SocketGuard {
    /// Waits for ever: nobody can remove or replace a pipe.
    pub(in crate::listen) async fn lost(&self) -> SocketLoss {
        future::pending().await
    }

    /// Waits for a short time at most until the clients have read the last bytes of connections that have ended.
    pub(in crate::listen) async fn closed(&self) {
        self.closing.wait().await;
    }
}
