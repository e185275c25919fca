//! The next decision: which request has the next turn, whether the visit goes on, and how long the free card waits for
//! the visit's caller.

use std::time::{Duration, Instant};

use super::{Continuation, Decision, Schedule};
use crate::turns::{
    quantum::linger,
    request::{Id, Kind, Request},
    visit::Visit,
};

impl<U: Id, C: Id, G: Id> Schedule<U, C, G> {
    /// Decides what happens now. A repeated call changes nothing, except that a user in debt skips one visit.
    pub fn next(&mut self, now: Instant) -> Decision {
        if let Some(turn) = &self.turn {
            let Some(contention) = turn.contention else { return Decision::Busy(None) };
            let end = contention.end(turn.began, turn.request.kind, &self.settings.bounds);
            return if end <= now { Decision::Stop } else { Decision::Busy(Some(end)) };
        }
        if self.is_reset_due {
            return Decision::Reset;
        }
        let other = self.rounds.peek(self.holds_card());
        let Some(other) = other.and_then(|number| self.rounds.get(number)).filter(|_| !self.is_stopping) else {
            return Decision::Idle;
        };
        let Some(visit) = &self.visit else { return self.start_visit(*other) };
        let is_last_share = self.rounds.visits_left() == 0;
        if is_last_share && visit.is_followed_by(other) && !other.demands_reset {
            return self.start(*other, Continuation::InTurn);
        }
        if !visit.has_quantum(self.raised) {
            return self.start_visit(*other);
        }
        let own = visit.next_request(&self.rounds);
        match own {
            Some(own) if self.goes_on(visit, own, now) => self.start(*own, Continuation::GoesOn),
            Some(_) => self.start_visit(*other),
            None => match self.linger_end(visit, now) {
                Some(end) => Decision::Linger(end),
                None => self.start_visit(*other),
            },
        }
    }

    /// Whether the visit goes on with `own`, its next request.
    fn goes_on(&self, visit: &Visit<U, C, G>, own: &Request<U, C, G>, now: Instant) -> bool {
        let is_short = own.kind != Kind::Session || !self.rounds.is_another_user_waiting(visit.user);
        let completes_pair = visit.is_pair_open && own.caller == visit.caller;
        let in_time = now < visit.last_begin(self.quantum()) || completes_pair && now < self.pair_end(visit);
        is_short && in_time && !own.demands_reset
    }

    /// The time until which the free card waits for the visit's caller, if it waits.
    fn linger_end(&self, visit: &Visit<U, C, G>, now: Instant) -> Option<Instant> {
        let quantum = self.quantum();
        // The next session of the same caller would not go first while another user waits.
        let is_in_vain = visit.kind == Kind::Session && self.rounds.is_another_user_waiting(visit.user);
        let likely = !is_in_vain && self.comebacks.is_likely(visit.caller);
        let patience = visit.last_begin(quantum).min(visit.last_answer + linger(quantum));
        let pair = visit.is_pair_open.then(|| self.pair_end(visit).min(visit.last_answer + self.settings.pair));
        let end = likely.then_some(patience).max(pair)?;
        // The card does not wait if a request would expire meanwhile; a request with a wait of zero expires at once.
        (now < end && self.rounds.next_deadline().is_none_or(|deadline| end < deadline)).then_some(end)
    }

    /// The time until which an open pair may extend the visit: the visit is bounded like one unit.
    fn pair_end(&self, visit: &Visit<U, C, G>) -> Instant {
        let (_, users) = self.rounds.others(visit.user, visit.group);
        visit.began + self.settings.bounds.unit(users, Duration::ZERO)
    }

    /// The quantum of the current visit.
    pub(super) fn quantum(&self) -> Duration {
        let quantum = self.settings.quantum.length(self.reset_cost.median());
        if self.visit.as_ref().is_some_and(|visit| visit.rests) { quantum.max(self.settings.burst) } else { quantum }
    }

    /// The group that holds the card: a visit of another group would cost a reset or a selection.
    pub(super) fn holds_card(&self) -> Option<G> {
        self.visit.as_ref().filter(|visit| visit.has_quantum(self.raised)).map(|visit| visit.group)
    }

    /// Begins a visit with `next`, unless its user is in debt by a whole quantum and another user waits.
    fn start_visit(&mut self, mut next: Request<U, C, G>) -> Decision {
        self.book_overrun();
        while self.rounds.is_another_user_waiting(next.user) && self.debts.charge_visit(next.user) {
            self.rounds.sit_out(next.user);
            let other = self.rounds.peek(self.holds_card()).and_then(|number| self.rounds.get(number));
            let Some(other) = other else { break };
            next = *other;
        }
        self.start(next, Continuation::NewVisit)
    }

    fn start(&mut self, request: Request<U, C, G>, manner: Continuation) -> Decision {
        self.next = Some((request.number, manner));
        let same_handle = self.visit.as_ref().is_some_and(|visit| visit.rests && visit.caller == request.caller);
        let continues = same_handle && manner != Continuation::NewVisit && request.kind == Kind::Command;
        Decision::Start { number: request.number, reset: self.demands_reset(&request), continues }
    }

    /// Whether the card must be reset before `request`.
    pub(super) fn demands_reset(&self, request: &Request<U, C, G>) -> bool {
        self.raised.is_some_and(|group| group != request.group)
    }
}
