//! The handle of a reader's journal, shared by everything that records into it and by the status that shows it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cardbroker_core::{
    journal::{
        CommandClass, CommandFacts, Event, EventKind, ExchangeMask, IncidentKind, Journal, Origin, Recorder, Sent,
        ShownRules,
    },
    policy::ReaderNames,
    turns::lease::LeaseNumber,
};

use crate::trace::TraceHub;

/// The parts that the journals of all readers share.
#[derive(Clone)]
pub struct Journals {
    /// Passes events on to operators and to the log.
    pub hub: TraceHub,
    /// How long events are kept for operators; `None` if they are not.
    pub recorder: Option<Duration>,
    /// The level of detail that is shown of commands.
    pub shown: Arc<ShownRules>,
}

/// A reader's journal. Clones are the same journal.
#[derive(Clone)]
pub struct JournalHandle(Arc<Shared>);

struct Shared {
    hub: TraceHub,
    /// Locked for short moments only.
    state: Mutex<State>,
}

struct State {
    journal: Journal,
    /// Follows the exchanges of the reader.
    mask: ExchangeMask,
    /// The names of the reader, which may change with the readers that are there.
    names: Arc<ReaderNames>,
}

impl Journals {
    /// Creates the journal of a new reader.
    pub fn journal(&self, names: Arc<ReaderNames>) -> JournalHandle {
        let (journal, mask) = (Journal::new(Recorder::new(self.recorder)), ExchangeMask::new(Arc::clone(&self.shown)));
        JournalHandle(Arc::new(Shared { hub: self.hub.clone(), state: Mutex::new(State { journal, mask, names }) }))
    }
}

impl JournalHandle {
    /// Records an event, and passes it on to the operators that follow the reader.
    pub fn record(&self, event: &Event) {
        self.enter(&mut self.lock(), event);
    }

    /// Records a command that was sent at `at` under a lease.
    pub fn record_command(&self, at: Instant, origin: Arc<Origin>, lease: LeaseNumber, sent: Sent<'_>) {
        let mut state = self.lock();
        let facts = CommandFacts::of(sent, &mut state.mask, self.0.hub.wants_data());
        let kind = EventKind::Command(facts);
        self.enter(&mut state, &Event { at, origin: Some(origin), lease: Some(lease), kind });
    }

    /// Records that a command of this class is sent now.
    pub fn on_command(&self, class: CommandClass) {
        self.lock().journal.on_command(class);
    }

    /// Forgets the recorded events that are too old.
    pub fn expire(&self, now: Instant) {
        self.lock().journal.expire(now);
    }

    /// When recorded events are to be forgotten next; `None` if there are none.
    pub fn expiry(&self) -> Option<Instant> {
        self.lock().journal.recorder().expiry()
    }

    /// Records that the reader has other names now.
    pub fn rename(&self, names: Arc<ReaderNames>) {
        self.lock().names = names;
    }

    /// Records an incident that is no event of a trace. `message` is the broker's own.
    pub fn incident(&self, kind: IncidentKind, message: &str, now: Instant) {
        self.lock().journal.incident(kind, message, now);
    }

    /// Reads the journal. `read` must be short: the card thread may wait for its end.
    pub fn read<T>(&self, read: impl FnOnce(&Journal) -> T) -> T {
        read(&self.lock().journal)
    }

    /// Events of one reader are passed on in the order of their numbers, so its journal stays locked.
    fn enter(&self, state: &mut State, event: &Event) {
        let number = state.journal.record(event);
        self.0.hub.publish(&state.names, number, event);
    }

    /// A panic elsewhere leaves the journal usable: at worst one event is counted in part.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal of a reader that nobody follows, for tests of other things.
#[cfg(test)]
impl Default for JournalHandle {
    fn default() -> Self {
        Journals::default().journal(Arc::new(ReaderNames { id: "reader".into(), display_name: "Reader".into() }))
    }
}

/// The shared parts of journals, for tests of other things.
#[cfg(test)]
impl Default for Journals {
    fn default() -> Self {
        let policy = cardbroker_core::policy::Policy::new(Vec::new(), cardbroker_core::user::example(0));
        let hub = TraceHub::new(tokio::sync::watch::channel(Arc::new(policy)).1, false);
        Self { hub, recorder: None, shown: Arc::default() }
    }
}
