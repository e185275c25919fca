//! The places of open connections, shared by the accept loop and the connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::places::{Places, Standing};

/// How many connections are open. Clones look at the same listener.
#[derive(Debug, Clone)]
pub struct ConnectionCount(pub(super) Arc<Door>);

impl ConnectionCount {
    /// Those being served, at most `max_connections`.
    pub fn open(&self) -> usize {
        self.0.places().open()
    }
}

#[derive(Debug)]
pub(super) struct Door {
    pub(super) places: Mutex<Places>,
    /// Somebody has left.
    pub(super) freed: Notify,
}

impl Door {
    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be served, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) door: Arc<Door>,
    pub(super) number: u64,
    pub(super) standing: Standing,
}

impl Place {
    /// What its connection must know and tell.
    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.places().leave(self.number);
        self.door.freed.notify_waiters();
    }
}
