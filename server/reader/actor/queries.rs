//! The part of the actor for queries of the turns.

use cardbroker_core::{
    caller::Caller,
    turns::waiting::{Holder, TurnKind, Turns, Waiter},
};

use super::{Actor, Work};
use crate::reader::inbox::TurnsQuery;

impl Actor {
    /// Answers a query of the turns.
    pub(super) fn on_query(&self, query: TurnsQuery) {
        // An error means that nobody waits for the answer any more.
        let _ = query.reply.send(self.turns(&query.caller));
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
            Work::Session(holding) => (TurnKind::Session, holding.began(), holding.caller()),
            Work::EndOfSession { caller, since, .. } => (TurnKind::Session, *since, caller),
        };
        let is_caller = holder.key == caller.key && holder.principal() == caller.principal();
        Some(Holder { kind, since, is_caller })
    }
}
