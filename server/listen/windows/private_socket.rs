//! Private doors for PC/SC programs: refused, because the programs' library here is Windows' own.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::super::{door::DoorListener, incoming::ConnectionNumbers};

/// There is no folder of a service here.
pub(in crate::listen) fn runtime_folder() -> Option<PathBuf> {
    None
}

/// Stands where sockets of private doors are made elsewhere.
#[derive(Debug)]
pub struct PrivateListeners {
    main: PathBuf,
}

/// The socket of a private door. There is no value of this type.
#[derive(Debug)]
pub enum PrivateSocket {}

impl PrivateListeners {
    pub(in crate::listen) fn new(main: PathBuf, _: Option<PathBuf>, _: ConnectionNumbers) -> Self {
        Self { main }
    }

    /// The path of the main door.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open(&self) -> io::Result<(PrivateSocket, DoorListener)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl PrivateSocket {
    /// The path of the socket.
    pub fn path(&self) -> &Path {
        match *self {}
    }
}
