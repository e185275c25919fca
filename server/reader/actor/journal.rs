//! The part of the actor that records into the reader's journal: turns, requests without a turn, and states.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    error::Failure,
    journal::{Event, EventKind, IncidentKind, Origin, TurnEnd},
    status::{ReaderStatus, State},
    turns::lease::LeaseNumber,
};

use super::Actor;
use crate::reader::inbox::{SessionTicket, Waiting};

/// The turn of a session that has ended for its holder, until the card is in order.
pub(super) struct SessionTurn {
    /// The request that had the turn.
    pub(super) origin: Arc<Origin>,
    /// The lease of the turn.
    pub(super) lease: LeaseNumber,
    /// The arrival of the request.
    pub(super) arrived: Instant,
    /// The beginning of the turn.
    pub(super) began: Instant,
    /// How the session ended for its holder.
    pub(super) end: TurnEnd,
}

impl Actor {
    /// Records that the turn of a session ended, with its last task and its reset.
    pub(super) fn record_session_ended(&self, turn: &SessionTurn, now: Instant) {
        let SessionTurn { origin, lease, began, end, .. } = turn;
        self.record_turn_ended(origin, *lease, *began, *end, now);
    }

    /// Records that the turn of a unit with this number of `commands`, or of a session (`None`), begins.
    pub(super) fn record_turn_began(
        &self,
        origin: &Arc<Origin>,
        lease: LeaseNumber,
        arrived: Instant,
        commands: Option<usize>,
        now: Instant,
    ) {
        let kind = EventKind::TurnBegan {
            is_session: commands.is_none(),
            commands: commands.and_then(|commands| u32::try_from(commands).ok()).unwrap_or_default(),
            waited: now.saturating_duration_since(arrived),
        };
        self.journal.record(&Event { at: now, origin: Some(Arc::clone(origin)), lease: Some(lease), kind });
    }

    /// Records that a turn ended.
    pub(super) fn record_turn_ended(
        &self,
        origin: &Arc<Origin>,
        lease: LeaseNumber,
        began: Instant,
        end: TurnEnd,
        now: Instant,
    ) {
        let kind = EventKind::TurnEnded { end, held: now.saturating_duration_since(began) };
        self.journal.record(&Event { at: now, origin: Some(Arc::clone(origin)), lease: Some(lease), kind });
    }

    /// Ends a request without a turn, with `failure` for its caller.
    pub(super) fn refuse(&self, waiting: Waiting, failure: Failure, now: Instant) {
        self.record_not_served(waiting.access().origin(), Some(&failure), now);
        waiting.end(failure);
    }

    /// Ends the request for a session without a turn, with `failure` for its caller.
    pub(super) fn refuse_session(&self, session: SessionTicket, failure: Failure, now: Instant) {
        self.record_not_served(session.access.origin(), Some(&failure), now);
        session.refuse(failure);
    }

    /// Records that a request got no turn. Without a failure its caller has cancelled it.
    pub(super) fn record_not_served(&self, origin: &Arc<Origin>, failure: Option<&Failure>, now: Instant) {
        let kind = EventKind::NotServed { reason: failure.map(|failure| failure.reason) };
        self.journal.record(&Event { at: now, origin: Some(Arc::clone(origin)), lease: None, kind });
    }

    /// Records the changes from the published status to `status`: insertions, removals and states without a usable
    /// card.
    pub(super) fn record_status(&mut self, status: Option<&ReaderStatus>, because: Option<&str>, now: Instant) {
        let insertion = |status: Option<&ReaderStatus>| {
            status.map(|status| status.insertion_id.clone()).filter(|insertion| !insertion.is_empty())
        };
        let before = insertion(self.published.as_ref());
        let after = insertion(status);
        let journal = &self.journal;
        let record = |kind| journal.record(&Event { at: now, origin: None, lease: None, kind });
        if before.is_some() && before != after {
            record(EventKind::Removed);
        }
        // A card that is being acquired has no answer to reset yet.
        if let (Some(status), Some(insertion_id)) = (status, after)
            && status.state == State::Ready
            && self.recorded_insertion != insertion_id
        {
            self.recorded_insertion.clone_from(&insertion_id);
            record(EventKind::Inserted { insertion_id, atr: status.atr.clone(), protocol: status.protocol });
        }
        let message = match status.map(|status| status.state) {
            None => "the reader was unplugged",
            Some(State::Mute) => "the card does not answer a reset, or speaks no allowed protocol",
            Some(State::HeldElsewhere) => "another program holds the card",
            Some(State::Unresponsive) => "a call into the driver does not return",
            Some(State::Unavailable) => because.unwrap_or("PC/SC does not serve the reader"),
            Some(State::Empty | State::Settling | State::Ready) => return,
        };
        self.journal.incident(IncidentKind::Reader, message, now);
    }
}
