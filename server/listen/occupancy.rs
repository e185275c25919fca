//! The slots of open connections, shared by the accept loop and the connections.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardbroker_core::caller::Principal;
use tokio::sync::Notify;

use super::slots::{ConnectionSlots, ConnectionStatus};

/// The number of open connections. Clones count the same listener's connections.
#[derive(Debug, Clone)]
pub struct ConnectionCount(pub(super) Arc<Occupancy>);

impl ConnectionCount {
    /// The open connections, at most `max_connections`.
    pub fn open(&self) -> usize {
        self.0.slots().open()
    }

    /// The open connections of each user on the Unix socket, and of all clients together on TCP (`None`).
    pub fn by_user(&self) -> BTreeMap<Option<Principal>, usize> {
        self.0.slots().by_user()
    }
}

#[derive(Debug)]
pub(super) struct Occupancy {
    pub(super) slots: Mutex<ConnectionSlots>,
    /// Notified when a connection has closed.
    pub(super) freed: Notify,
}

impl Occupancy {
    pub(super) fn slots(&self) -> MutexGuard<'_, ConnectionSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one connection, freed on drop.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    pub(super) occupancy: Arc<Occupancy>,
    pub(super) number: u64,
    pub(super) status: ConnectionStatus,
}

impl ConnectionSlot {
    /// The status that the slot shares with its connection.
    pub(super) fn status(&self) -> ConnectionStatus {
        self.status.clone()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.occupancy.slots().leave(self.number);
        self.occupancy.freed.notify_waiters();
    }
}
