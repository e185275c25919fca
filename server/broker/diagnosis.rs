//! An operator's view of the readers: their states with holders and waiters at one moment, and the end of a turn.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
    journal::{Event, EventKind, Origin},
    policy::rule::Operation,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::Broker;
use crate::{
    policy::{access, audit::ANY_READER},
    reader::snapshot::{ReaderSnapshot, Release, Released},
    registry::{ReaderView, StackState},
};

/// The maximum time for the answers of all readers.
const QUERY_TIME: Duration = Duration::from_millis(500);

/// The operations without which something is not shown.
#[derive(Debug, Clone, Copy)]
struct Needed {
    /// The operations needed at a reader.
    at_readers: &'static [Operation],
    /// The operation needed for the broker itself.
    everywhere: Operation,
}

const DIAGNOSIS: Needed =
    Needed { at_readers: &[Operation::See, Operation::Diagnose], everywhere: Operation::Diagnose };
const METRICS: Needed = Needed { at_readers: &[Operation::See, Operation::Metrics], everywhere: Operation::Metrics };

/// The readers that an operator may see from inside, at one moment.
pub struct Diagnosis {
    /// When the snapshots were taken.
    pub at: std::time::Instant,
    /// The readers, ordered by name.
    pub readers: Vec<DiagnosedReader>,
    /// Whether the operator may see the broker itself, too.
    pub includes_broker: bool,
}

/// A reader that an operator may see from inside.
pub struct DiagnosedReader {
    /// The reader as clients see it.
    pub view: Arc<ReaderView>,
    /// Its snapshot; `None` if it has not answered in time.
    pub snapshot: Option<Arc<ReaderSnapshot>>,
}

/// The latest snapshots of all readers. Operators that ask at the same moment share them.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<Option<Taken>>);

/// The snapshots of all readers, by name.
#[derive(Debug, Clone)]
struct Taken {
    at: Instant,
    readers: Arc<BTreeMap<Arc<str>, Arc<ReaderSnapshot>>>,
}

impl Broker {
    /// Returns the readers that `caller` may diagnose, at a moment not before `not_before`.
    pub async fn diagnose(&self, caller: &Caller, not_before: Instant) -> Diagnosis {
        self.look(caller, DIAGNOSIS, not_before).await
    }

    /// Returns the readers whose metrics `caller` may read, now.
    pub async fn measure(&self, caller: &Caller) -> Diagnosis {
        self.look(caller, METRICS, Instant::now()).await
    }

    /// Returns the readers at which `caller` may see and do what `needed` says, at a moment not before `not_before`.
    async fn look(&self, caller: &Caller, needed: Needed, not_before: Instant) -> Diagnosis {
        let Taken { at, readers: snapshots } = self.snapshots(not_before).await;
        let list = self.visible_readers(caller, needed.at_readers).list();
        let readers = list
            .iter()
            .map(|view| DiagnosedReader { view: Arc::clone(view), snapshot: snapshots.get(&view.name).cloned() });
        let readers = readers.collect();
        Diagnosis { at: at.into_std(), readers, includes_broker: self.may_everywhere(caller, needed.everywhere) }
    }

    /// The number of all readers, visible to a caller or not.
    pub fn reader_count(&self) -> usize {
        self.readers.view.borrow().readers().count()
    }

    /// Waits for the next change of a reader.
    pub async fn reader_changed(&self) {
        let mut view = self.readers.view.clone();
        view.mark_unchanged();
        if view.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether the card stack serves, and since when.
    pub fn stack(&self) -> StackState {
        self.readers.stack.borrow().clone()
    }

    /// The number of requests that the policy has denied, and of those without a valid token, in this run.
    pub fn refusals(&self) -> (u64, u64) {
        self.trail.refusals()
    }

    /// Whether `caller` may do what concerns no single reader.
    fn may_everywhere(&self, caller: &Caller, operation: Operation) -> bool {
        self.policy.borrow().decide_everywhere(&caller.identity, operation).allowed
    }

    /// Records that the operator `origin` has changed the log's filter for a time.
    pub fn on_log_filter_changed(&self, origin: &Origin, filter: &str, time: Duration) {
        self.trail.log_filter_changed(origin, filter, time.as_secs());
    }

    /// Records that the operator `origin` has asked for a reload.
    pub fn on_reload_requested(&self, origin: &Origin) {
        self.trail.reload_requested(origin);
    }

    /// Records that `caller` was denied an operation at every reader, before its request was read: in the audit trail,
    /// and at each reader if the trail records it singly, so that a flood of them costs little.
    pub fn on_denied_everywhere(&self, caller: &Caller, operation: Operation, rule: &Arc<str>) {
        let origin = origin_of(caller);
        if !self.trail.denied(&origin, ANY_READER, operation, rule) {
            return;
        }
        let (at, kind) = (Instant::now().into_std(), EventKind::Denied { operation, rule: Arc::clone(rule) });
        let event = Event { at, origin: Some(origin), lease: None, kind };
        self.readers.routes.borrow().values().for_each(|handle| handle.journal().record(&event));
    }

    /// Checks that the caller of the request `origin` may do this at some reader, also at one that comes later, or
    /// where no reader is concerned.
    ///
    /// # Errors
    /// [`Reason::Denied`] if no rule allows it.
    pub fn check_anywhere(&self, origin: &Origin, operation: Operation) -> Result<(), Failure> {
        let policy = Arc::clone(&self.policy.borrow());
        let who = &origin.caller.identity;
        let needed = [Operation::See, operation];
        let may_at_readers = needed.iter().all(|operation| policy.denied_everywhere(who, *operation).is_none());
        if may_at_readers { Ok(()) } else { self.check_everywhere(origin, operation) }
    }

    /// Checks that the caller of the request `origin` may do what concerns no single reader, and records a denial.
    ///
    /// # Errors
    /// [`Reason::Denied`] if no rule allows it.
    pub fn check_everywhere(&self, origin: &Origin, operation: Operation) -> Result<(), Failure> {
        let decision = self.policy.borrow().decide_everywhere(&origin.caller.identity, operation);
        if decision.allowed {
            return Ok(());
        }
        self.trail.denied(origin, "", operation, &decision.rule);
        Err(access::denial(decision.rule, operation.as_str()))
    }

    /// Ends the turn of a lease at a reader for the operator `origin`.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`] if the operator may not see the reader, [`Reason::Denied`] without the permission,
    /// [`Reason::LeaseEnded`] if the lease is not the current one, [`Reason::ReaderUnresponsive`] if the reader's task
    /// has not answered.
    pub async fn release(&self, reader: &str, release: Release) -> Result<Released, Failure> {
        let (_, handle, access) = self.approach(reader, Arc::clone(&release.by), Operation::Release, Vec::new())?;
        access.check_operations()?;
        let answer = timeout_at(Instant::now() + QUERY_TIME, handle.release(release)).await.ok().flatten();
        let unanswered = || Failure::not_sent(Reason::ReaderUnresponsive, "the reader's task has not answered: retry");
        let ended = || {
            let message = "the turn of this lease has ended: look at the status again";
            Failure::not_sent(Reason::LeaseEnded, message)
        };
        // The reader's task has recorded the release in the audit trail.
        answer.ok_or_else(unanswered)?.ok_or_else(ended)
    }

    /// Returns snapshots of all readers that were begun at `not_before` or later.
    async fn snapshots(&self, not_before: Instant) -> Taken {
        let mut latest = self.snapshots.0.lock().await;
        if let Some(taken) = latest.as_ref().filter(|taken| taken.at >= not_before) {
            return taken.clone();
        }
        let at = Instant::now();
        let queries: Vec<_> =
            self.readers.routes.borrow().iter().map(|(name, handle)| (Arc::clone(name), handle.snapshot())).collect();
        let mut readers = BTreeMap::new();
        for (name, snapshot) in queries {
            if let Ok(Some(snapshot)) = timeout_at(at + QUERY_TIME, snapshot).await {
                readers.insert(name, Arc::new(snapshot));
            }
        }
        let taken = Taken { at, readers: Arc::new(readers) };
        *latest = Some(taken.clone());
        taken
    }
}

/// A request that was not read, for the journal and the audit trail.
pub(super) fn origin_of(caller: &Caller) -> Arc<Origin> {
    Arc::new(Origin { caller: caller.clone(), group: None, traceparent: None })
}
