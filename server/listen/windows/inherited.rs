//! Sockets that a service manager has opened: Windows' has none to give.

use std::net::TcpListener;

use super::LocalSocket;
use crate::{config::InheritedAddresses, listen::BindError};

/// The sockets that the process was started with. There is no value of this type.
#[derive(Debug)]
pub enum Inherited {}

impl Inherited {
    /// Finds no sockets: the broker opens its own pipe. The result has the form of Unix, where taking sockets may fail.
    pub fn take() -> Result<Option<Self>, BindError> {
        Ok(None)
    }

    /// The paths of all local sockets, and the addresses of all TCP sockets.
    pub fn addresses(&self) -> InheritedAddresses {
        match *self {}
    }

    /// The sockets with the TCP sockets.
    pub(in crate::listen) fn into_sockets(self) -> Result<(Vec<LocalSocket>, Vec<TcpListener>), BindError> {
        match self {}
    }
}
