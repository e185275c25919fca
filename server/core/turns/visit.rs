//! One visit: consecutive turns of one isolation group of one user, as far as they are saved a reset or a selection.

use std::time::{Duration, Instant};

use crate::turns::{
    request::{Id, Request},
    rounds::Rounds,
    turn::Left,
};

/// The visit under way, or the last one while nobody else has had a turn.
#[derive(Debug)]
pub(crate) struct Visit<U, C, G> {
    pub(crate) user: U,
    pub(crate) group: G,
    /// The caller of its last turn.
    pub(crate) caller: C,
    /// The visit, or the one of the same group right before it, began with an isolation reset.
    entering_costs: bool,
    /// When its first command began, after the reset; until then, when its turn came.
    pub(crate) began: Instant,
    is_reset_under_way: bool,
    /// What the user owed at the beginning.
    debt: Duration,
    turn_began: Instant,
    pub(crate) last_answer: Instant,
    /// The last turn is a PC/SC handle's and stays open.
    pub(crate) rests: bool,
    pub(crate) is_pair_open: bool,
    /// Whether its last turn left security state in the card.
    raises: bool,
    is_collected: bool,
}

impl<U: Id, C: Id, G: Id> Visit<U, C, G> {
    /// A visit that begins with `request`, at `began` if no reset comes first.
    pub(crate) fn new(
        request: &Request<U, C, G>,
        entering_costs: bool,
        debt: Duration,
        began: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            user: request.user,
            group: request.group,
            caller: request.caller,
            entering_costs,
            began: began.unwrap_or(now),
            is_reset_under_way: began.is_none(),
            debt,
            turn_began: now,
            last_answer: now,
            rests: false,
            is_pair_open: false,
            raises: false,
            is_collected: false,
        }
    }

    pub(crate) fn turn_begins(&mut self, caller: C, now: Instant) {
        (self.caller, self.turn_began) = (caller, now);
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

    /// When the visit has had its time, given the `quantum`.
    fn end(&self, quantum: Duration) -> Instant {
        self.began + quantum.saturating_sub(self.debt)
    }

    /// Until when further turns begin: not while less than half of the last turn's time is left, so that short turns
    /// rather end before the quantum than after it. At most a sixteenth of the quantum is given away.
    pub(crate) fn last_begin(&self, quantum: Duration) -> Instant {
        let half = self.last_answer.saturating_duration_since(self.turn_began) / 2;
        let end = self.end(quantum);
        end.checked_sub(half.min(quantum / 16)).unwrap_or(end)
    }

    /// Whether entering cost or leaving costs something: then the visit goes on for a quantum.
    pub(crate) fn has_quantum(&self, raised: Option<G>) -> bool {
        self.entering_costs || self.rests || raised == Some(self.group)
    }

    /// Whether `other` loses nothing by coming next, whatever time it is.
    pub(crate) fn is_followed_by(&self, other: &Request<U, C, G>) -> bool {
        other.user == self.user && other.group == self.group && (!self.rests || other.caller == self.caller)
    }

    /// Whether a visit that begins with `next` inherits the reset at the beginning of this one.
    pub(crate) fn lends_entering_cost_to(&self, next: &Request<U, C, G>) -> bool {
        self.entering_costs && next.user == self.user && next.group == self.group
    }

    /// The request with which the visit would go on. A resting handle goes on alone: another one may move the
    /// selection.
    pub(crate) fn next_request<'a>(&self, rounds: &'a Rounds<U, C, G>) -> Option<&'a Request<U, C, G>> {
        let number = if self.rests { rounds.oldest_of(self.caller) } else { rounds.peek_group(self.user, self.group) };
        rounds.get(number?).filter(|request| request.group == self.group)
    }

    /// How far the last turn outran the `quantum`, if there is one; said once. A turn that began after its end began
    /// while nobody else waited.
    pub(crate) fn take_overrun(&mut self, quantum: Duration) -> Option<Duration> {
        let end = self.end(quantum);
        let has_quantum = !quantum.is_zero() && (self.entering_costs || self.rests || self.raises);
        let is_due = has_quantum && self.turn_began < end && !std::mem::replace(&mut self.is_collected, true);
        is_due.then(|| self.last_answer.saturating_duration_since(end))
    }
}
