//! The transfer of each reader's status from its actor to the registry: one slot for each reader, in which a new status
//! replaces one that was not taken. So neither side waits for the other, and nothing accumulates.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardbroker_core::{slot::SlotName, status::ReaderStatus};
use tokio::sync::Notify;

/// By the readers' names in the card stack; `None` for a reader that is not plugged in.
pub type LatestStatuses = BTreeMap<SlotName, Option<ReaderStatus>>;

/// The statuses that the registry has not taken, at most one for each reader. Clones share them.
#[derive(Clone, Default)]
pub struct Statuses(Arc<Shared>);

#[derive(Default)]
struct Shared {
    latest: Mutex<LatestStatuses>,
    arrived: Notify,
}

/// The sender of one reader's status. Its actor publishes through it.
pub struct StatusPublisher {
    key: SlotName,
    statuses: Statuses,
}

impl Statuses {
    /// Returns the publisher of the reader with this name.
    pub fn publisher(&self, key: &SlotName) -> StatusPublisher {
        StatusPublisher { key: key.clone(), statuses: self.clone() }
    }

    /// Takes the statuses that were published since the last call; waits until there is one. For one task only.
    /// Cancel-safe.
    pub async fn take(&self) -> LatestStatuses {
        loop {
            let latest = mem::take(&mut *self.lock());
            if !latest.is_empty() {
                return latest;
            }
            self.0.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LatestStatuses> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatusPublisher {
    /// Replaces the reader's status; `None` while it is unplugged. Never waits.
    pub fn publish(&self, status: Option<ReaderStatus>) {
        self.statuses.lock().insert(self.key.clone(), status);
        self.statuses.0.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cardbroker_core::status::State;
    use tokio::{join, task::yield_now, time::timeout};

    use super::*;

    fn status(insertion_count: u64) -> Option<ReaderStatus> {
        let (atr, insertion_id) = (Vec::new(), String::new());
        Some(ReaderStatus { state: State::Empty, atr, protocol: None, insertion_id, insertion_count })
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_status_of_each_reader_arrives() {
        let statuses = Statuses::default();
        let [a, b] = ["a", "b"].map(|key| statuses.publisher(&key.into()));
        (1..=3).for_each(|count| a.publish(status(count)));
        b.publish(status(1));
        b.publish(None);
        assert_eq!(statuses.take().await, BTreeMap::from([("a".into(), status(3)), ("b".into(), None)]));

        let second = Duration::from_secs(1);
        assert!(timeout(second, statuses.take()).await.is_err(), "everything was taken");
        let later = async {
            yield_now().await;
            a.publish(status(4));
        };
        let (taken, ()) = join!(timeout(second, statuses.take()), later);
        assert_eq!(taken.unwrap(), BTreeMap::from([("a".into(), status(4))]));
    }
}
