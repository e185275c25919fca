//! The part of the actor for queries: of a caller's own turns, and of everything for operators, who may also end a
//! turn.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    caller::Caller,
    error::{Cause, Failure},
    journal::{Event, EventKind, Origin, Progress},
    turns::{
        lease::LeaseNumber,
        waiting::{Holder, TurnKind, Turns, Waiter},
    },
};

use super::{Actor, Work};
use crate::reader::{
    inbox::Query,
    snapshot::{DriverCall, HolderSnapshot, MAX_WAITERS, ReaderSnapshot, Release, Released, WaiterSnapshot},
};

impl Actor {
    /// Answers a query. An error of a reply means that nobody waits for the answer any more.
    pub(super) fn on_query(&mut self, query: Query, now: Instant) {
        match query {
            Query::Turns { caller, reply } => drop(reply.send(self.turns(&caller))),
            Query::Snapshot { reply } => drop(reply.send(self.snapshot())),
            Query::Release { release, reply } => drop(reply.send(self.release(release, now))),
        }
    }

    /// Returns the turns as `caller` may see them.
    pub(super) fn turns(&self, caller: &Caller) -> Turns {
        let busy = self.turns_under_way();
        let waiting = self.schedule.of_caller(caller).map(|(turns_ahead, waiting)| Waiter {
            kind: waiting.kind(),
            turns_ahead: busy + turns_ahead,
            since: waiting.arrived(),
            deadline: waiting.deadline(),
        });
        Turns { holder: self.holder(caller), waiting: waiting.collect() }
    }

    /// The number of turns before the first request in the queue.
    pub(super) fn turns_under_way(&self) -> usize {
        usize::from(!self.worker.is_idle())
    }

    fn holder(&self, caller: &Caller) -> Option<Holder> {
        let WorkTurn { kind, origin, began, .. } = self.worker.work()?.turn()?;
        let holder = &origin.caller;
        let is_caller = holder.key == caller.key && holder.principal() == caller.principal();
        Some(Holder { kind, since: began, is_caller })
    }

    /// Returns the reader as an operator sees it.
    fn snapshot(&self) -> ReaderSnapshot {
        let waiters = self.schedule.in_order().take(MAX_WAITERS).map(|waiting| WaiterSnapshot {
            origin: Arc::clone(waiting.access().origin()),
            kind: waiting.kind(),
            arrived: waiting.arrived(),
            deadline: waiting.deadline(),
        });
        let waiters = waiters.collect();
        let (progress, incidents, counters) = self
            .journal
            .read(|journal| (journal.progress(), journal.incidents().cloned().collect(), journal.counters().clone()));
        let call = self.driver_call();
        ReaderSnapshot {
            state_since: self.state_since,
            holder: self.holder_snapshot(progress, call.is_some()),
            call,
            waiters,
            waiter_count: self.schedule.len(),
            incidents,
            counters,
        }
    }

    /// The turn in progress. `progress` are the commands of the turn that began last; `is_in_call` is whether the card
    /// thread is in a call of the driver.
    fn holder_snapshot(&self, progress: Progress, is_in_call: bool) -> Option<HolderSnapshot> {
        let work = self.worker.work()?;
        let WorkTurn { kind, origin, lease, began, arrived } = work.turn()?;
        let (commands, idle_since, progress) = match work {
            Work::Unit { ticket, .. } => (ticket.commands.len(), None, progress),
            // In the journal, the turn that began last is still the one before.
            Work::Opening { .. } => (0, None, Progress::default()),
            Work::Session(holding) => (0, holding.idle_since().filter(|_| !is_in_call), progress),
            Work::Handling | Work::EndOfSession { .. } => (0, None, progress),
        };
        Some(HolderSnapshot {
            lease,
            kind,
            origin: Arc::clone(origin),
            began,
            arrived,
            idle_since,
            progress,
            commands,
            released_by: self.released_by.clone(),
        })
    }

    fn driver_call(&self) -> Option<DriverCall> {
        let began = self.watchdog.call_began()?;
        Some(DriverCall { began, is_overdue: self.worker.hangs() })
    }

    /// Ends the turn of a lease for an operator. `None` if it is not the current lease.
    fn release(&mut self, release: Release, now: Instant) -> Option<Released> {
        let Release { lease, by, reason } = release;
        let call = self.driver_call();
        let released = call.map_or(Released::Ended, Released::Pending);
        let (current, access) = match self.worker.work()? {
            Work::Unit { ticket, lease, .. } => (*lease, Some(ticket.access.clone())),
            Work::Session(holding) => (holding.lease(), Some(holding.access().clone())),
            // Its last call may still run. Only a repeat of the release that has ended the session is answered.
            Work::EndOfSession { turn, .. } => (turn.lease, None),
            Work::Handling | Work::Opening { .. } => return None,
        };
        if current != lease {
            return None;
        }
        if self.released_by.is_some() {
            return Some(released);
        }
        let access = access?;
        access.audit_release(&by, &reason);
        let origin = Arc::clone(access.origin());
        let kind = EventKind::Released { by: Arc::clone(&by), reason };
        self.journal.record(&Event { at: now, origin: Some(origin), lease: Some(lease), kind });
        self.leases.release();
        self.released_by = Some(by);
        // A unit ends by itself before its next exchange.
        let message = "an operator of the broker has ended the session: open a new one";
        self.end_session(Failure::revoked(Cause::Released, message));
        Some(released)
    }
}

/// The turn that the card thread works for.
struct WorkTurn<'a> {
    /// Whether it is a unit or a session.
    kind: TurnKind,
    /// The request that has the turn.
    origin: &'a Arc<Origin>,
    /// The lease; `None` while the card is prepared for the turn or put in order after it.
    lease: Option<LeaseNumber>,
    /// The beginning of the turn.
    began: Instant,
    /// The arrival of the request.
    arrived: Instant,
}

impl Work {
    /// The turn that the work is for; `None` for work without a request.
    fn turn(&self) -> Option<WorkTurn<'_>> {
        let (kind, origin, lease, began, arrived) = match self {
            Self::Handling => return None,
            Self::Unit { ticket, lease, since, .. } => {
                (TurnKind::Unit, ticket.access.origin(), Some(*lease), *since, ticket.arrived)
            }
            Self::Opening { waiting, since, .. } => {
                (waiting.kind(), waiting.access().origin(), None, *since, waiting.arrived())
            }
            Self::Session(holding) => {
                let (origin, lease) = (holding.origin(), holding.lease());
                (TurnKind::Session, origin, Some(lease), holding.began(), holding.arrived())
            }
            Self::EndOfSession { turn, .. } => (TurnKind::Session, &turn.origin, None, turn.began, turn.arrived),
        };
        Some(WorkTurn { kind, origin, lease, began, arrived })
    }
}
