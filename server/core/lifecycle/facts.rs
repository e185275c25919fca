//! The part of the life cycle that tells its state: the status for watchers, ids and tags, and refusals.

use std::borrow::Cow;

use super::{CardLifecycle, Own, Phase};
use crate::{
    error::Failure,
    slot::Protocol,
    status::{ReaderStatus, State, not_owned, protocol_mismatch},
};

/// The contents of a status, without copies.
struct Shown<'a> {
    state: State,
    /// The card's answer to reset; empty without one.
    atr: &'a [u8],
    protocol: Option<Protocol>,
    /// Whether a card may be in the reader, so that the status has an insertion id.
    has_card: bool,
}

impl CardLifecycle {
    /// Why the reader is unusable, where its state alone does not tell.
    pub fn unusable_because(&self) -> Option<Cow<'_, str>> {
        match self.phase {
            Phase::Unavailable { .. } => Some(Cow::Borrowed(&self.unavailable_because)),
            Phase::Mute { speaks_another: true } => Some(self.mismatch().message),
            _ => None,
        }
    }

    /// The reader's status for watchers.
    pub fn status(&self) -> ReaderStatus {
        let Shown { state, atr, protocol, has_card } = self.shown();
        ReaderStatus {
            state,
            atr: atr.to_vec(),
            protocol,
            insertion_id: if has_card { self.insertion_id() } else { String::new() },
            insertion_count: self.insertion_count,
        }
    }

    /// Whether an earlier status of this life cycle is still the same. Cheaper than a new one to compare.
    pub fn is_status(&self, earlier: &ReaderStatus) -> bool {
        let Shown { state, atr, protocol, has_card } = self.shown();
        (state, protocol, self.insertion_count) == (earlier.state, earlier.protocol, earlier.insertion_count)
            && atr == earlier.atr
            && has_card != earlier.insertion_id.is_empty()
    }

    fn shown(&self) -> Shown<'_> {
        let seen = || self.seen.as_ref().map(|seen| &*seen.atr).unwrap_or_default();
        let (state, atr, protocol) = match &self.phase {
            Phase::Unavailable { .. } => (State::Unavailable, &[][..], None),
            Phase::Empty { .. } => (State::Empty, &[][..], None),
            Phase::Released => (State::Ready, seen(), None),
            Phase::Settling { .. } => (State::Settling, &[][..], None),
            Phase::Ready { card, .. } => (State::Ready, &*card.atr, Some(card.protocol)),
            Phase::Mute { speaks_another: true } => (State::Mute, seen(), None),
            Phase::Mute { speaks_another: false } => (State::Mute, &[][..], None),
            Phase::Held { .. } => (State::HeldElsewhere, &[][..], None),
        };
        let has_card = !matches!(state, State::Empty | State::Unavailable);
        Shown { state: if self.unresponsive { State::Unresponsive } else { state }, atr, protocol, has_card }
    }

    /// The id of the insertion, unique among all runs.
    pub fn insertion_id(&self) -> String {
        format!("{}-i{}", self.identity, self.insertion_count)
    }

    /// The tag of the card's state, as far as the broker's own commands and resets change it.
    pub fn state_tag(&self) -> String {
        self.state_tag_after(0)
    }

    /// The state tag of a unit that would begin now.
    pub fn next_state_tag(&self) -> String {
        self.state_tag_after(1)
    }

    fn state_tag_after(&self, moves: u64) -> String {
        format!("{}-s{}", self.identity, self.state_count + moves)
    }

    /// The refusal of a request that requires a card now, if the reader's state prevents its turn.
    pub fn refusal(&self) -> Option<Failure> {
        if self.own == Own::Never {
            return Some(not_owned());
        }
        if !self.unresponsive && matches!(self.phase, Phase::Mute { speaks_another: true }) {
            return Some(self.mismatch());
        }
        self.shown().state.refusal(&self.unavailable_because)
    }

    /// The refusal of requests for a card that answers with other protocols than the allowed ones.
    fn mismatch(&self) -> Failure {
        protocol_mismatch(self.protocols, self.seen.as_ref().map_or(&[], |seen| &seen.atr))
    }
}
