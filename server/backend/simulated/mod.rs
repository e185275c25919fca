//! Simulated readers with simulated cards, inside the process: for a first run without hardware, for examples and for
//! tests.
//!
//! The readers are named "Simulated Reader 00", "Simulated Reader 01", … and each starts with a card in it. The cards
//! use T=1; of two readers or more, the last one's card is a strict T=0 card. `docs/simulated-card.md` lists their
//! commands. Or the readers are those of a recorded trace, with cards that replay it.

mod bay;
mod card;
mod slot;
#[cfg(test)]
mod tests;
mod trace_file;

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    simulated_card::{CardOptions, RecordedCard, ReplayedCard},
    slot::{Protocol, ServiceError, SlotName, SlotStatus},
};

use crate::backend::{Backend, Monitor, Slot};
pub use bay::Bay;
pub use card::BayCard;
pub use trace_file::TraceFileError;

/// The longest single wait; keeps sums of times within bounds.
const DAY: Duration = Duration::from_secs(86_400);

/// The simulated card stack. Clones share the readers.
#[derive(Clone)]
pub struct Simulated(Arc<Rack>);

impl Simulated {
    /// Creates `count` readers, 1–256, each with a card.
    pub fn new(count: usize) -> Self {
        let bay = |index: usize| {
            let strict = index > 0 && index + 1 == count;
            let protocol = if strict { Protocol::T0 } else { Protocol::T1 };
            // Allows 65,536 swaps before two readers' cards have the same serial number.
            Bay::new(CardOptions { protocol, serial: (index as u32) << 16, ..CardOptions::default() })
        };
        Self::of((0..count).map(|index| (reader_name(index).into(), bay(index))))
    }

    /// Reads a recorded trace, and creates its readers. Each starts with its first card, if it has one.
    ///
    /// # Errors
    /// [`TraceFileError`] if the file cannot be read or has a mistake.
    pub fn replaying(file: &Path) -> Result<Self, TraceFileError> {
        Ok(Self::of_recorded(trace_file::read(file)?))
    }

    /// Creates readers with these ids, which replay these cards.
    fn of_recorded(readers: impl IntoIterator<Item = (String, Vec<RecordedCard>)>) -> Self {
        let bay = |cards: Vec<RecordedCard>| ReplayedCard::first(cards.into()).map_or_else(Bay::empty, Bay::new);
        Self::of(readers.into_iter().map(|(id, cards)| (id.into(), bay(cards))))
    }

    fn of(readers: impl Iterator<Item = (SlotName, Bay)>) -> Self {
        let (names, bays) = readers.unzip();
        let (changed, is_woken) = (Condvar::new(), AtomicBool::new(false));
        Self(Arc::new(Rack { names, bays: Mutex::new(bays), changed, is_woken }))
    }

    /// Inserts a card into the reader with this index, in place of the current one. No effect without such a reader.
    pub fn insert(&self, index: usize, card: CardOptions) {
        self.0.change(index, |bay| bay.insert(card));
    }

    /// Removes the card from the reader with this index. No effect without such a reader.
    pub fn remove(&self, index: usize) {
        self.0.change(index, Bay::remove);
    }
}

impl Backend for Simulated {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::new(RackMonitor { rack: Arc::clone(&self.0), last: None })
    }

    fn wake_monitor(&self) {
        // Under the lock, so that the monitor is not between its check and its wait.
        let _bays = self.0.lock();
        self.0.is_woken.store(true, Ordering::Relaxed);
        self.0.changed.notify_all();
    }

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        let index = self.0.names.iter().position(|known| known == name);
        Box::new(slot::BaySlot::new(Arc::clone(&self.0), index))
    }
}

fn reader_name(index: usize) -> String {
    format!("Simulated Reader {index:02}")
}

/// All readers, and the condition variable for all waits.
struct Rack {
    /// The names of the readers. Never change.
    names: Vec<SlotName>,
    /// The bays of the readers, in the order of their names.
    bays: Mutex<Vec<Bay>>,
    /// A card has come or left, or its future events have changed.
    changed: Condvar,
    /// Whether the monitor must return. Changed with `bays` locked.
    is_woken: AtomicBool,
}

impl Rack {
    fn lock(&self) -> MutexGuard<'_, Vec<Bay>> {
        self.bays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Bay)) {
        self.lock().get_mut(index).map(change);
        self.changed.notify_all();
    }

    /// Waits until `done` or for `timeout`; returns whether `done`. Applies all due events meanwhile.
    fn wait<'a>(
        &'a self,
        mut bays: MutexGuard<'a, Vec<Bay>>,
        timeout: Duration,
        mut done: impl FnMut(&[Bay]) -> bool,
    ) -> (MutexGuard<'a, Vec<Bay>>, bool) {
        let deadline = Instant::now() + timeout.min(DAY);
        loop {
            let now = Instant::now();
            if bays.iter_mut().fold(false, |changed, bay| bay.advance(now) | changed) {
                self.changed.notify_all();
            }
            if done(&bays) {
                return (bays, true);
            }
            if now >= deadline {
                return (bays, false);
            }
            let wake = bays.iter().filter_map(Bay::next_event).fold(deadline, Instant::min);
            bays = self
                .changed
                .wait_timeout(bays, wake.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

struct RackMonitor {
    rack: Arc<Rack>,
    last: Option<Vec<SlotStatus>>,
}

impl Monitor for RackMonitor {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
        let timeout = if self.last.is_some() { timeout } else { Duration::ZERO };
        let (bays, _) = self.rack.wait(self.rack.lock(), timeout, |bays| {
            let event_counts = self.last.iter().flatten().map(|status| status.event_count);
            !event_counts.eq(bays.iter().map(Bay::event_count)) || self.rack.is_woken.swap(false, Ordering::Relaxed)
        });
        let snapshot: Vec<_> = self.rack.names.iter().zip(&*bays).map(status).collect();
        self.last = Some(snapshot.clone());
        Ok(snapshot)
    }
}

fn status((name, bay): (&SlotName, &Bay)) -> SlotStatus {
    SlotStatus {
        name: name.clone(),
        card_present: bay.card().is_some(),
        event_count: bay.event_count(),
        atr: bay.card().map(BayCard::atr).unwrap_or_default(),
    }
}
