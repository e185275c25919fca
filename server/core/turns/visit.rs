//! One visit: consecutive turns of one isolation group of one user, where that saves a reset or a selection.

use std::time::{Duration, Instant};

use crate::turns::{
    request::{Id, Kind, Request},
    rounds::Rounds,
    turn::Left,
};

/// The current visit, or the last one until the next turn of another visit.
#[derive(Debug)]
pub(crate) struct Visit<U, C, G> {
    pub(crate) user: U,
    pub(crate) group: G,
    /// The caller of the visit's last turn.
    pub(crate) caller: C,
    /// Whether this visit, or the one of the same group directly before it, began with an isolation reset.
    entering_costs: bool,
    /// The beginning of the first command, after the reset. Until then, the beginning of the first turn.
    pub(crate) began: Instant,
    is_reset_under_way: bool,
    /// The user's debt at the beginning of the visit.
    debt: Duration,
    turn_began: Instant,
    pub(crate) last_answer: Instant,
    /// The kind of the last turn.
    pub(crate) kind: Kind,
    /// Whether the last turn belongs to a PC/SC handle and stays open.
    pub(crate) rests: bool,
    pub(crate) is_pair_open: bool,
    /// Whether the last turn left security state in the card.
    raises: bool,
    is_collected: bool,
}

impl<U: Id, C: Id, G: Id> Visit<U, C, G> {
    /// Creates a visit that begins with `request`, or with a reset before it.
    pub(crate) fn new(
        request: &Request<U, C, G>,
        entering_costs: bool,
        debt: Duration,
        is_reset_first: bool,
        now: Instant,
    ) -> Self {
        Self {
            user: request.user,
            group: request.group,
            caller: request.caller,
            entering_costs,
            began: now,
            is_reset_under_way: is_reset_first,
            debt,
            turn_began: now,
            last_answer: now,
            kind: request.kind,
            rests: false,
            is_pair_open: false,
            raises: false,
            is_collected: false,
        }
    }

    pub(crate) fn turn_begins(&mut self, request: &Request<U, C, G>, now: Instant) {
        (self.caller, self.kind, self.turn_began) = (request.caller, request.kind, now);
    }

    pub(crate) fn reset_done(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_reset_under_way) {
            (self.began, self.turn_began) = (now, now);
        }
    }

    pub(crate) fn turn_ends(&mut self, left: Left, now: Instant) {
        (self.rests, self.is_pair_open, self.raises) = (left.rests, left.is_pair_open, left.raised);
        self.last_answer = now;
        self.is_collected = false;
    }

    /// The end of the visit's time, given the `quantum`.
    fn end(&self, quantum: Duration) -> Instant {
        self.began + quantum.saturating_sub(self.debt)
    }

    /// The time until which further turns begin: half of the last turn's time before the end, so that short turns tend
    /// to end before the quantum does. At most a sixteenth of the quantum stays unused.
    pub(crate) fn last_begin(&self, quantum: Duration) -> Instant {
        let half = self.last_answer.saturating_duration_since(self.turn_began) / 2;
        let end = self.end(quantum);
        end.checked_sub(half.min(quantum / 16)).unwrap_or(end)
    }

    /// Whether the visit goes on for a quantum, because its beginning or its end costs a reset or a selection.
    pub(crate) fn has_quantum(&self, raised: Option<G>) -> bool {
        self.entering_costs || self.rests || raised == Some(self.group)
    }

    /// Whether `other` continues the visit without a cost, at any time.
    pub(crate) fn is_followed_by(&self, other: &Request<U, C, G>) -> bool {
        other.user == self.user && other.group == self.group && (!self.rests || other.caller == self.caller)
    }

    /// Whether the reset at the beginning of this visit also counts for a visit that begins with `next`.
    pub(crate) fn shares_entering_cost_with(&self, next: &Request<U, C, G>) -> bool {
        self.entering_costs && next.user == self.user && next.group == self.group
    }

    /// The request with which the visit would go on. For a resting handle only its own requests count, because another
    /// caller may change the selection.
    pub(crate) fn next_request<'a>(&self, rounds: &'a Rounds<U, C, G>) -> Option<&'a Request<U, C, G>> {
        let number = if self.rests { rounds.oldest_of(self.caller) } else { rounds.peek_group(self.user, self.group) };
        rounds.get(number?).filter(|request| request.group == self.group)
    }

    /// The time by which the last turn outran the `quantum`, if the visit has one. Returned once. A turn that began
    /// after the end of the quantum has no overrun, because no other request waited then.
    pub(crate) fn take_overrun(&mut self, quantum: Duration) -> Option<Duration> {
        let end = self.end(quantum);
        let has_quantum = !quantum.is_zero() && (self.entering_costs || self.rests || self.raises);
        let is_due = has_quantum && self.turn_began < end && !std::mem::replace(&mut self.is_collected, true);
        is_due.then(|| self.last_answer.saturating_duration_since(end))
    }
}
