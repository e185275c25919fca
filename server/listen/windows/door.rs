//! The door for PC/SC programs: refused, because the programs' library here is Windows' own. Its types have the
//! functions of those on Unix and no value, so that the rest of the daemon is the same on both systems.

use std::{io, path::Path, time::Duration};

use cardbroker_core::caller::{Caller, Principal};

use super::{
    local::{LocalSocket, SocketGuard},
    stream::Stream,
};
use crate::{
    config::ListenConfig,
    listen::{BindError, budgets::Budgets, incoming::ConnectionNumbers},
};

/// The socket of the configuration, which [`DoorSocket::take`] refuses.
#[derive(Debug)]
pub(in crate::listen) enum DoorSocket {}

/// The socket of the configuration once it listens.
#[derive(Debug)]
pub(in crate::listen) enum OpenDoor {}

/// The socket of the door, while programs are accepted.
#[derive(Debug)]
pub enum DoorListener {}

/// Makes the sockets of private doors.
#[derive(Debug)]
pub enum PrivateListeners {}

/// The socket of a private door.
#[derive(Debug)]
pub enum PrivateSocket {}

/// The budgets for refused requests.
#[derive(Debug, Clone)]
pub enum DoorBudgets {}

/// The parts of the door that come from the listeners.
#[derive(Debug)]
pub struct DoorListeners {
    /// The socket of the configuration.
    pub main: DoorListener,
    /// Makes the sockets of private doors.
    pub private: PrivateListeners,
    /// The budgets that refused requests are charged to.
    pub budgets: DoorBudgets,
}

impl DoorSocket {
    /// Refuses the path of the configuration, and says which key to remove.
    ///
    /// # Errors
    /// [`BindError::Unfit`] for each path.
    pub(in crate::listen) fn take(_: Option<LocalSocket>, path: &Path, _: &ListenConfig) -> Result<Self, BindError> {
        let problem = "Windows has a PC/SC library of its own, so there is no door for PC/SC programs: remove \
                       pcsclite.socket";
        Err(BindError::Unfit { socket: path.into(), problem: problem.into() })
    }

    /// Starts to listen on the door's pipe.
    pub(in crate::listen) fn listen(self) -> io::Result<(OpenDoor, SocketGuard)> {
        match self {}
    }
}

impl DoorListeners {
    /// The parts of the door with this socket.
    pub(in crate::listen) fn new(door: OpenDoor, _: ConnectionNumbers, _: Budgets) -> Self {
        match door {}
    }
}

impl DoorBudgets {
    /// Charges a refused request to its user.
    pub fn charge(&self, _: &Principal) {
        match *self {}
    }

    /// The time until a connection of a user without tokens may be read again; `None` if the user has some.
    pub fn pause(&self, _: &Principal) -> Option<Duration> {
        match *self {}
    }
}

impl DoorListener {
    /// Accepts the next program at the door.
    pub(crate) async fn accept(&self) -> (Stream, Caller) {
        match *self {}
    }
}

impl PrivateListeners {
    /// The path of the main door.
    pub fn main(&self) -> &Path {
        match *self {}
    }

    /// Makes the socket of a private door.
    ///
    /// # Errors
    /// None on Windows, where the type has no value.
    pub fn open(&self) -> io::Result<(PrivateSocket, DoorListener)> {
        match *self {}
    }
}

impl PrivateSocket {
    /// The path of the socket.
    pub fn path(&self) -> &Path {
        match *self {}
    }
}
