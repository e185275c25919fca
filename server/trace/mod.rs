//! The trace: passes what happens at readers on to the operators that follow it, and to the log.
//!
//! ```text
//! actor, card thread, access ──► journal ──► hub ─┬─► feed of a tracer ──► its stream      (at most 8)
//!                                                 └─► log                                  (log.apdus)
//! ```
//!
//! Each event is passed on only if the policy of that moment lets the tracer see it, and it is delivered only if the
//! policy still does. While nobody listens, an event costs one load of an atomic variable.

mod log;
mod tracer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use cardbroker_core::{
    journal::{Event, Origin, TraceFilter, TraceLevel},
    policy::{Policy, ReaderNames},
};
use tokio::sync::watch;

pub(crate) use self::log::{microseconds, milliseconds};
use self::tracer::Tracing;
pub use self::{log::TARGET, tracer::Tracer};

/// The most tracers at the same time.
pub const MAX_TRACERS: usize = 8;

/// The most tracers of one user at the same time, so that others find a place.
pub const MAX_TRACERS_PER_USER: usize = 4;

/// The most bytes of events that wait for one tracer; all together have 8 MiB.
const ROOM: usize = (8 << 20) / MAX_TRACERS;

/// The value of [`Shared::wanted`] while nobody listens.
const NOTHING: u8 = 0;
/// The value of [`Shared::wanted`] while nobody wants bytes of commands.
const HEADERS: u8 = 1;
/// The value of [`Shared::wanted`] while a tracer wants bytes of commands.
const DATA: u8 = 2;

/// The hub of one broker. Clones are the same hub. The journals publish events; each trace has a [`Tracer`].
#[derive(Clone)]
pub struct TraceHub(Arc<Shared>);

struct Shared {
    /// The events that running traces want. Written while `tracers` is locked.
    wanted: AtomicU8,
    /// Whether events go into the log. Never changes.
    logs: bool,
    policy: watch::Receiver<Arc<Policy>>,
    /// The running traces. Locked for short moments only.
    tracers: Mutex<Vec<Arc<Tracing>>>,
}

/// An event on its way to tracers.
#[derive(Debug)]
pub struct TraceItem {
    /// The reader's names when it happened.
    pub reader: Arc<ReaderNames>,
    /// The number of the event at its reader.
    pub number: u64,
    /// Whether it comes from the recorder.
    pub is_recorded: bool,
    /// The event itself, with data for tracers that want it.
    pub event: Event,
}

/// A client's request for a trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceRequest {
    /// The events that it asks for.
    pub filter: TraceFilter,
    /// How much of commands it asks for.
    pub level: TraceLevel,
    /// How many events from the recorder of each reader come first.
    pub recorded: usize,
}

/// A trace that runs, for the status of its readers.
#[derive(Debug, Clone)]
pub struct RunningTracer {
    /// The request of the operator.
    pub origin: Arc<Origin>,
    /// How much of commands it shows.
    pub level: TraceLevel,
    /// The beginning of the trace.
    pub began: Instant,
}

/// Why there is no place for another trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooManyTracers {
    /// The traces of all users are [`MAX_TRACERS`] already.
    OfAll,
    /// The traces of this user are [`MAX_TRACERS_PER_USER`] already.
    OfUser,
}

impl TraceHub {
    /// Creates the hub of a broker with this policy. With `logs` events go into the log, too.
    pub fn new(policy: watch::Receiver<Arc<Policy>>, logs: bool) -> Self {
        let wanted = AtomicU8::new(if logs { HEADERS } else { NOTHING });
        Self(Arc::new(Shared { wanted, logs, policy, tracers: Mutex::default() }))
    }

    /// Whether the bytes of commands are wanted.
    pub fn wants_data(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed) == DATA
    }

    /// Passes an event on to everyone who follows the reader. Call it for the events of one reader in their order.
    pub fn publish(&self, reader: &Arc<ReaderNames>, number: u64, event: &Event) {
        if self.0.wanted.load(Ordering::Relaxed) == NOTHING || event.trace_kind().is_none() {
            return;
        }
        if self.0.logs {
            log::write(&reader.id, number, event);
        }
        let tracers = self.tracers();
        if tracers.is_empty() {
            return;
        }
        let policy = self.policy();
        let item = |event| Arc::new(TraceItem { reader: Arc::clone(reader), number, is_recorded: false, event });
        let (mut whole, mut plain) = (None, None);
        for tracing in tracers.iter().filter(|tracing| tracing.sees(&policy, reader, event)) {
            let item = match tracing.level {
                TraceLevel::Data => whole.get_or_insert_with(|| item(event.clone())),
                TraceLevel::Headers => plain.get_or_insert_with(|| item(event.without_data())),
            };
            tracing.push(item);
        }
    }

    /// Begins a trace for the request `origin`. It ends when the tracer is dropped.
    ///
    /// # Errors
    /// [`TooManyTracers`].
    pub fn begin(&self, origin: Arc<Origin>, request: TraceRequest, now: Instant) -> Result<Tracer, TooManyTracers> {
        let mut tracers = self.tracers();
        let user = origin.caller.principal();
        if tracers.iter().filter(|tracing| tracing.principal() == user).count() >= MAX_TRACERS_PER_USER {
            return Err(TooManyTracers::OfUser);
        }
        if tracers.len() >= MAX_TRACERS {
            return Err(TooManyTracers::OfAll);
        }
        let tracing = Arc::new(Tracing::new(origin, request, now, ROOM));
        tracers.push(Arc::clone(&tracing));
        self.update_wanted(&tracers);
        drop(tracers);
        Ok(Tracer::new(self.clone(), tracing))
    }

    /// The traces that show events of this reader, the oldest first.
    pub fn tracers_at(&self, reader: &ReaderNames) -> Vec<RunningTracer> {
        let policy = self.policy();
        let tracers = self.tracers();
        let here =
            tracers.iter().filter(|tracing| tracing.filter.concerns(&reader.id) && tracing.is_allowed(&policy, reader));
        here.map(|tracing| tracing.running()).collect()
    }

    fn end(&self, tracing: &Arc<Tracing>) {
        let mut tracers = self.tracers();
        tracers.retain(|other| !Arc::ptr_eq(other, tracing));
        self.update_wanted(&tracers);
    }

    /// A publisher that still sees the old value misses nothing that its client could expect: whatever the client
    /// causes after the trace has begun is ordered after this store by the channels that it passes through.
    fn update_wanted(&self, tracers: &[Arc<Tracing>]) {
        let wanted = match tracers.iter().any(|tracing| tracing.level == TraceLevel::Data) {
            true => DATA,
            false if self.0.logs || !tracers.is_empty() => HEADERS,
            false => NOTHING,
        };
        self.0.wanted.store(wanted, Ordering::Relaxed);
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.policy.borrow())
    }

    /// Ignores poisoning: every change of the list is a single call.
    fn tracers(&self) -> MutexGuard<'_, Vec<Arc<Tracing>>> {
        self.0.tracers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
