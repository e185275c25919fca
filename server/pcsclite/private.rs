//! Private doors: sockets for the children of one process, which are in the isolation group of that process.
//!
//! A private door is a convenience and no wall: any process of the opener's user that learns the path may use it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cardbroker_core::{
    caller::{Caller, Principal},
    error::{Failure, Reason},
    turns::places::Places,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::door::{Accepting, Entrance, Shared};
use crate::{
    caller::group::GroupKey,
    listen::{PrivateListeners, PrivateSocket},
};

/// Maximum private doors of all users, and of one user.
const DOORS: [u64; 2] = [64, 16];

/// Opens private doors. They serve the same readers and handles as the main one.
pub struct PrivateDoors {
    pub(super) shared: Arc<Shared>,
    listeners: PrivateListeners,
    places: Arc<Mutex<Places<Principal>>>,
}

/// A private door. Dropping it closes the door; its programs lose their connections.
pub struct PrivateDoor {
    socket: PrivateSocket,
    closing: CancellationToken,
    accepting: Accepting,
    user: Principal,
    places: Arc<Mutex<Places<Principal>>>,
}

impl PrivateDoors {
    pub(super) fn new(shared: Arc<Shared>, listeners: PrivateListeners) -> Self {
        let places = Places::with_per_user(DOORS[0], DOORS[1]);
        Self { shared, listeners, places: Arc::new(Mutex::new(places)) }
    }

    /// The path of the main door.
    pub fn main(&self) -> &Path {
        self.listeners.main()
    }

    /// Opens a door for the user of `caller`, whose programs belong to the group of `key`. Call it inside a runtime.
    ///
    /// # Errors
    /// [`Reason::NotImplemented`] if the system does not tell the user, [`Reason::QueueFull`] if there are too many,
    /// [`Reason::Internal`] if the system refuses the socket.
    pub fn open(&self, caller: &Caller, key: GroupKey) -> Result<PrivateDoor, Failure> {
        let user = caller.principal();
        if user == Principal::Unknown {
            let message = "private doors are for users that the broker's user namespace knows: use the main door";
            return Err(Failure::not_sent(Reason::NotImplemented, message));
        }
        let full = |_| Failure::not_sent(Reason::QueueFull, "too many private doors are open: close some");
        self.places.lock().unwrap_or_else(PoisonError::into_inner).take(user.clone(), 1).map_err(full)?;
        let opened = self.listeners.open();
        let (socket, listener) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.places.lock().unwrap_or_else(PoisonError::into_inner).give_back(user, 1);
                let message = format!("the private door cannot be opened: {error}");
                return Err(Failure::not_sent(Reason::Internal, message));
            }
        };
        debug!(%caller, socket = %socket.path().display(), "private door opened");
        let closing = self.shared.private();
        let entrance = Entrance::Private { group: key, user: user.clone(), closing: closing.clone() };
        let accepting = Accepting::start(&self.shared, listener, entrance);
        Ok(PrivateDoor { socket, closing, accepting, user, places: Arc::clone(&self.places) })
    }
}

impl PrivateDoor {
    /// The path of the socket.
    pub fn path(&self) -> PathBuf {
        self.socket.path().to_owned()
    }

    /// Waits until the door accepts no more programs although nobody has closed it, and returns the failure for its
    /// opener. Cancel-safe; pending for ever after that.
    pub async fn failed(&mut self) -> Failure {
        self.accepting.ended().await;
        Failure::not_sent(Reason::Internal, "the private door accepts no more programs: open another one")
    }

    /// Ends the task that accepts programs, as a fault would.
    #[cfg(all(test, unix))]
    pub(crate) fn abort_accepting(&self) {
        self.accepting.abort();
    }
}

impl Drop for PrivateDoor {
    fn drop(&mut self) {
        self.closing.cancel();
        self.places.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.user.clone(), 1);
    }
}
