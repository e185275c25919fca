//! The door for PC/SC programs: refused, because the programs' library here is Windows' own. Its types have no
//! value.

use std::{io, path::Path, time::Duration};

use cardbroker_core::caller::{Caller, Principal};

use super::{
    local::{LocalSocket, SocketGuard},
    pipe::Stream,
};
use crate::{
    config::ListenConfig,
    listen::{BindError, budgets::Budgets, incoming::ConnectionNumbers},
};

/// The socket of the configuration.
#[derive(Debug)]
pub(in crate::listen) enum DoorSocket {}

/// The same once it listens.
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
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub(in crate::listen) fn take(_: Option<LocalSocket>, path: &Path, _: &ListenConfig) -> Result<Self, BindError> {
        let problem = "Windows has a PC/SC library of its own, so there is no door for PC/SC programs: remove \
                       pcsclite.socket";
        Err(BindError::Unfit { socket: path.into(), problem: problem.into() })
    }

    /// # Errors
    /// None: it cannot be called.
    pub(in crate::listen) fn listen(self) -> io::Result<(OpenDoor, SocketGuard)> {
        match self {}
    }
}

impl DoorListeners {
    /// The parts of the door.
    pub(in crate::listen) fn new(door: OpenDoor, _: ConnectionNumbers, _: Budgets) -> Self {
        match door {}
    }
}

impl DoorBudgets {
    /// Charges a refused request to its user.
    pub fn charge(&self, _: &Principal) {
        match *self {}
    }

    /// The time until a connection of a user without tokens may be read again.
    pub fn pause(&self, _: &Principal) -> Option<Duration> {
        match *self {}
    }
}

impl DoorListener {
    /// Cannot be called: there is no value of this type.
    pub async fn accept(&self) -> (Stream, Caller) {
        match *self {}
    }
}

impl PrivateListeners {
    /// The path of the main door.
    pub fn main(&self) -> &Path {
        match *self {}
    }

    /// # Errors
    /// None: it cannot be called.
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
