//! The resets of a reader's card: their number, and one that a caller without a turn demands.

use std::sync::Arc;

use cardbroker_core::{journal::Origin, policy::rule::Operation};

use super::{Broker, RequestContext};

impl Broker {
    /// The number of resets and changes so far of the card in the reader of this name; 0 without a reader.
    pub fn card_resets(&self, reader: &str) -> u64 {
        self.readers.routes.borrow().get(reader).map_or(0, |handle| handle.marks().resets())
    }

    /// Has the reader's card reset at the end of the turn in progress, before all waiting requests, unless it has been
    /// reset since it had `resets` resets. Needs no permission but to see the reader, like the end of a session with a
    /// reset. No effect without such a reader.
    pub fn reset_after_turn(&self, context: &RequestContext<'_>, resets: u64) {
        let group = context.group.number().map(|_| context.group.id());
        let origin = Arc::new(Origin { caller: context.caller.clone(), group, traceparent: None });
        if let Ok((_, handle, _)) = self.approach(context.reader, origin, Operation::See, Vec::new()) {
            handle.reset_after_turn(resets);
        }
    }
}
