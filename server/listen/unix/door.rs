//! The socket of the door for PC/SC programs, with the lock, the folder and the watch of the broker's own socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use cardbroker_core::{
    budget::Tokens,
    caller::{Caller, Principal},
};

use super::{
    bound::Stream,
    local::{LocalSocket, SocketGuard},
    private_socket::{PrivateListeners, runtime_folder},
    socket_watch::Listener,
};
use crate::{
    config::ListenConfig,
    listen::{
        BindError,
        budgets::{Account, Budgets},
        incoming::{ConnectionNumbers, persist},
    },
};

/// The socket of the configuration, for programs that can connect to it. No program is accepted yet.
#[derive(Debug)]
pub(in crate::listen) struct DoorSocket(LocalSocket);

/// The same once it listens.
#[derive(Debug)]
pub(in crate::listen) struct OpenDoor {
    listener: Listener,
    path: PathBuf,
}

/// The socket of the door, while programs are accepted. Dropping it closes the socket.
#[derive(Debug)]
pub struct DoorListener {
    pub(super) listener: Listener,
    /// Numbers for connections, shared with the other sockets.
    pub(super) numbers: ConnectionNumbers,
}

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

/// The budgets for refused requests, shared with the other sockets of the broker.
#[derive(Debug, Clone, Default)]
pub struct DoorBudgets(Budgets);

impl DoorSocket {
    /// Takes the socket at `path`: the inherited one if there is one, or else an own socket with mode and group of the
    /// socket of `config`.
    ///
    /// # Errors
    /// [`BindError`], if another broker runs, or the path or its folder is unsafe or unusable.
    pub(in crate::listen) fn take(
        inherited: Option<LocalSocket>,
        path: &Path,
        config: &ListenConfig,
    ) -> Result<Self, BindError> {
        match inherited {
            Some(socket) => Ok(Self(socket)),
            None => LocalSocket::bind(&ListenConfig { socket: path.into(), ..config.clone() }).map(Self),
        }
    }

    /// Starts to listen, and to watch the path. Must be called inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub(in crate::listen) fn listen(self) -> io::Result<(OpenDoor, SocketGuard)> {
        let path = self.0.path().to_owned();
        let (listener, guard) = self.0.listen()?;
        Ok((OpenDoor { listener, path }, guard))
    }
}

impl DoorListeners {
    /// The parts of the door with this socket. Numbers and budgets are those of the other sockets.
    pub(in crate::listen) fn new(door: OpenDoor, numbers: ConnectionNumbers, budgets: Budgets) -> Self {
        let private = PrivateListeners::new(door.path, runtime_folder(), numbers.clone());
        Self { main: DoorListener { listener: door.listener, numbers }, private, budgets: DoorBudgets(budgets) }
    }
}

impl DoorBudgets {
    /// Charges a refused request to its user.
    pub fn charge(&self, user: &Principal) {
        self.0.charge(&Account::User(user.clone()));
    }

    /// The time until a connection of a user without tokens may be read again; `None` if the user has some. Call it
    /// once for each reading.
    pub fn pause(&self, user: &Principal) -> Option<Duration> {
        let account = Account::User(user.clone());
        (self.0.tokens(&account) == Tokens::Empty).then(|| self.0.next_reading(&account))
    }
}

impl DoorListener {
    /// Accepts the next program. Retries with pauses while the system cannot accept.
    pub async fn accept(&self) -> (Stream, Caller) {
        persist(|| self.listener.accept(|| self.numbers.next())).await
    }
}
