//! Sockets that a service manager has opened: Windows' has none to give.

use std::net::TcpListener;

use super::{super::BindError, local::LocalSocket};
use crate::config::{InheritedAddresses, TcpPort};

/// The sockets that the process was started with. There is no value of this type here.
#[derive(Debug)]
pub struct Inherited {
    pub(in crate::listen) sockets: Vec<InheritedSocket>,
    pub(in crate::listen) ports: Vec<(TcpListener, TcpPort)>,
}

/// A socket that the process was started with. There is no value of this type.
#[derive(Debug, Clone, Copy)]
pub(in crate::listen) enum InheritedSocket {}

impl Inherited {
    /// Takes nothing.
    ///
    /// # Errors
    /// None.
    pub fn take() -> Result<Option<Self>, BindError> {
        Ok(None)
    }

    /// The paths of all sockets, and the addresses of all TCP sockets.
    pub fn addresses(&self) -> InheritedAddresses {
        InheritedAddresses { sockets: Vec::new(), tcp: Vec::new() }
    }
}

impl InheritedSocket {
    /// # Errors
    /// None: it cannot be called.
    pub(in crate::listen) fn take(self) -> Result<Self, BindError> {
        match self {}
    }
}

/// Keeps the two kinds of local sockets in one enum, as on Unix.
const _: fn(InheritedSocket) -> LocalSocket = LocalSocket::Inherited;
