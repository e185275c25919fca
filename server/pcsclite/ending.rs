//! How the turn of a handle ends: given back, abandoned, missed, or taken away.

use cardbroker_core::{
    error::Reason,
    pcsclite::{
        code::Code,
        pause::{Expiry, Limit, MAX_MISSES, Phase},
    },
};

use super::{
    connection::Connection,
    turns::{Event, Held, Turn, Waiting},
};

impl Connection {
    /// Ends the turn of the handle, or its wait, and leaves the card as it is.
    pub(super) fn end_turn(&mut self, handle: u32) {
        let Some(Turn::Held(held)) = self.turns.take(handle) else { return };
        // The handle has not seen the card in a turn that it has missed, nor what others have selected before.
        if !matches!(held.phase(), Phase::Awaited { .. }) {
            let selection = held.session.marks().selection();
            self.shared.state.handles(|handles| handles.on_turn_over(handle, selection));
        }
        // The end is sent at once. There is nothing to wait for, because the card is left as it is.
        drop(held.session.close());
    }

    /// Ends the turn of the handle with a reset of the card: for its program the card was inserted again.
    fn lose_turn(&mut self, handle: u32) {
        if let Some(Turn::Held(held)) = self.turns.take(handle) {
            let selection = held.session.marks().selection();
            self.shared.state.handles(|handles| handles.on_turn_over(handle, selection));
        }
    }

    /// The client leaves: a turn that the handle keeps ends with a reset of the card.
    pub(super) fn abandon_turn(&mut self, handle: u32) {
        let keeps = self.shared.state.handles(|handles| handles.keeps_turn(handle));
        if keeps && self.has_begun(handle) {
            drop(self.turns.take(handle));
        } else {
            self.end_turn(handle);
        }
    }

    /// Something has happened to a turn between the calls of its handle.
    pub(super) fn on_turn_event(&mut self, handle: u32, event: Event) {
        match event {
            Event::Begun(session, misses) => {
                self.turns.put(handle, Turn::Held(Box::new(Held::new(session, Phase::Awaited { misses }))));
            }
            Event::Refused => drop(self.turns.take(handle)),
            Event::Expired(Expiry::Rested) => self.end_turn(handle),
            Event::Expired(Expiry::Missed { misses }) => {
                self.end_turn(handle);
                if misses < MAX_MISSES
                    && let Ok(opening) = self.request_turn(handle)
                {
                    self.turns.put(handle, Turn::Waiting(Waiting::new(opening, misses)));
                }
            }
            Event::Expired(Expiry::TooLong(limit)) => {
                self.revoke(handle);
                match limit {
                    Limit::Idle => self.lose_turn(handle),
                    // The next program shares the security state. The broker resets the card for one that does not.
                    Limit::OwnGroup => self.end_turn(handle),
                }
            }
            Event::Over(_) if !self.has_begun(handle) => self.end_turn(handle),
            Event::Over(over) => {
                match over.failure.reason {
                    Reason::LeaseRevoked => self.revoke(handle),
                    Reason::CardRemoved | Reason::NoCard => self.tell(handle, Code::REMOVED_CARD),
                    _ => self.tell(handle, Code::RESET_CARD),
                }
                self.end_turn(handle);
            }
        }
    }

    /// Tells the handle that it has lost its turn. For an exclusive one the card was inserted again, because its
    /// program expects no reset by others.
    fn revoke(&mut self, handle: u32) {
        if !self.has_begun(handle) {
            return;
        }
        let Some(reader) = self.shared.state.handles(|handles| handles.exclusive_reader(handle)) else {
            return self.tell(handle, Code::RESET_CARD);
        };
        self.tell(handle, Code::REMOVED_CARD);
        self.shared.state.reinsert(&self.member, &reader);
        self.refresh();
    }

    fn tell(&self, handle: u32, code: Code) {
        self.shared.state.handles(|handles| handles.tell(handle, code));
    }
}
