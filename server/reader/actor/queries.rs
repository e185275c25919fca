//! The part of the actor for queries: of a caller's own turns, and of everything for operators, who may also end a
//! turn.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    caller::Caller,
    error::{Cause, Failure},
    journal::{Event, EventKind, Origin},
    turns::waiting::{Holder, TurnKind, Turns, Waiter},
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
        let (kind, since, holder) = match self.worker.work()? {
            Work::Handling => return None,
            Work::Unit { ticket, since, .. } => (TurnKind::Unit, *since, ticket.access.caller()),
            Work::Opening { waiting, since, .. } => (waiting.kind(), *since, waiting.access().caller()),
            Work::Session(holding) => (TurnKind::Session, holding.began(), &holding.origin().caller),
            Work::EndOfSession { turn, .. } => (TurnKind::Session, turn.began, &turn.origin.caller),
        };
        let is_caller = holder.key == caller.key && holder.principal() == caller.principal();
        Some(Holder { kind, since, is_caller })
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
        let (incidents, counters) =
            self.journal.read(|journal| (journal.incidents().cloned().collect(), journal.counters().clone()));
        ReaderSnapshot {
            state_since: self.state_since,
            holder: self.holder_snapshot(),
            call: self.driver_call(),
            waiters,
            waiter_count: self.schedule.len(),
            incidents,
            counters,
        }
    }

    fn holder_snapshot(&self) -> Option<HolderSnapshot> {
        let progress = self.journal.read(|journal| journal.progress());
        let call = self.driver_call();
        let turn = |origin: &Arc<Origin>, kind, lease, began, arrived| HolderSnapshot {
            lease,
            kind,
            origin: Arc::clone(origin),
            began,
            arrived,
            idle_since: None,
            progress,
            commands: 0,
            released_by: self.released_by.clone(),
        };
        Some(match self.worker.work()? {
            Work::Handling => return None,
            Work::Unit { ticket, lease, since, .. } => {
                let origin = ticket.access.origin();
                let unit = turn(origin, TurnKind::Unit, Some(*lease), *since, ticket.arrived);
                HolderSnapshot { commands: ticket.commands.len(), ..unit }
            }
            Work::Opening { waiting, since, .. } => {
                let opening = turn(waiting.access().origin(), waiting.kind(), None, *since, waiting.arrived());
                HolderSnapshot { progress: Default::default(), ..opening }
            }
            Work::Session(holding) => {
                let (origin, lease) = (holding.origin(), Some(holding.lease()));
                let session = turn(origin, TurnKind::Session, lease, holding.began(), holding.arrived());
                HolderSnapshot { idle_since: holding.idle_since().filter(|_| call.is_none()), ..session }
            }
            Work::EndOfSession { turn: session, .. } => {
                turn(&session.origin, TurnKind::Session, None, session.began, session.arrived)
            }
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
            Work::Unit { ticket, lease, .. } => (*lease, ticket.access.clone()),
            Work::Session(holding) => (holding.lease(), holding.access().clone()),
            // A repeat for a session whose last call still runs.
            Work::EndOfSession { turn, .. } if turn.lease == lease && self.released_by.is_some() => {
                return Some(released);
            }
            Work::Handling | Work::Opening { .. } | Work::EndOfSession { .. } => return None,
        };
        if current != lease {
            return None;
        }
        if self.released_by.is_some() {
            return Some(released);
        }
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
