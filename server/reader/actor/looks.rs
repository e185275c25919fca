//! The actor's part that concerns those who want to see the turns.

use cardbroker_core::{
    caller::CallerKey,
    turns::waiting::{Holder, TurnKind, Turns, Waiter},
};

use super::{Actor, Work};
use crate::reader::inbox::Look;

impl Actor {
    /// Answers a look.
    pub(super) fn look(&self, look: Look) {
        // An error means that nobody waits for the answer any more.
        let _ = look.reply.send(self.turns(look.caller));
    }

    /// What `caller` may see of the turns.
    pub(super) fn turns(&self, caller: CallerKey) -> Turns {
        let busy = self.turns_under_way();
        let places = self.queue.of_caller(&caller).into_iter();
        let waiting = places.map(|place| Waiter {
            kind: place.item.kind(),
            turns_ahead: busy + place.turns_ahead,
            since: place.item.arrived(),
            deadline: place.deadline,
        });
        Turns { holder: self.holder(caller), waiting: waiting.collect() }
    }

    /// What comes before whoever is first in the queue.
    pub(super) fn turns_under_way(&self) -> usize {
        usize::from(!self.worker.is_idle())
    }

    fn holder(&self, caller: CallerKey) -> Option<Holder> {
        let (kind, since, holder) = match self.worker.work()? {
            Work::Handling => return None,
            Work::Unit { ticket, since, .. } => (TurnKind::Unit, *since, ticket.access.caller().key),
            Work::Opening { waiting, since, .. } => (waiting.kind(), *since, waiting.access().caller().key),
            Work::Session(holding) => (TurnKind::Session, holding.began(), holding.caller()),
            Work::EndOfSession { caller, since, .. } => (TurnKind::Session, *since, *caller),
        };
        Some(Holder { kind, since, is_caller: holder == caller })
    }
}
