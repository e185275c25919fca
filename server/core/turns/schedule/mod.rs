//! The rule of turns at one reader: who has the next turn, and how long the card waits for its last user. Pure: times
//! are arguments, and the actor carries out what [`Schedule::next`] decides.
//!
//! A *visit* is consecutive turns of one isolation group of one user. It is one turn, unless the card had to be reset
//! for it (entering costs) or must be reset after it (leaving costs); then it goes on for a quantum.
//!
//! ```text
//!                  Start, then on_turn_began
//!   no turn ─────────────────────────────────▶ turn under way ── Stop ──▶ the unit stops, or the lease ends
//!    │  ▲ ▲                                        │
//!    │  │ └──────────── on_turn_ended ─────────────┘
//!    │  └ on_reset ─┐
//!    ├──── Reset ───┘   what is left in the card belongs to a group that has ended
//!    ├──── Linger ───▶  the visit's caller is waited for; ask again at that time, or when something is reported
//!    └──── Idle ─────▶  nobody waits; a turn that rests stays open
//! ```
//!
//! The actor reports: each request ([`Schedule::push`]) and each one that leaves without its turn
//! ([`Schedule::remove`], [`Schedule::pop_expired`]); the begin of a turn; the end of each reset and, for an isolation
//! reset, how long it took; the end of a turn with what is left in the card; a card that was taken, lost or removed; a
//! group's end; and that the broker stops. A session's commands are not reported, nor is a failed condition: the
//! request is removed, which neither ends nor extends the visit.

mod decide;
mod decision;

use std::time::{Duration, Instant};

pub use self::decision::{Decision, Settings};
use crate::turns::{
    bounds::Contention,
    comebacks::Comebacks,
    debts::Debts,
    quantum::{ResetCost, linger},
    request::{Id, Request},
    rounds::Rounds,
    turn::Left,
    visit::Visit,
};

/// The turns at one reader, for users `U`, callers `C` and isolation groups `G`.
#[derive(Debug)]
pub struct Schedule<U, C, G> {
    pub(crate) settings: Settings,
    pub(crate) rounds: Rounds<U, C, G>,
    pub(crate) reset_cost: ResetCost,
    pub(crate) comebacks: Comebacks<C>,
    pub(crate) debts: Debts<U>,
    /// The group that has left security state in the card.
    pub(crate) raised: Option<G>,
    /// That group has ended.
    pub(crate) is_reset_due: bool,
    pub(crate) visit: Option<Visit<U, C, G>>,
    pub(crate) turn: Option<UnderWay<U, C, G>>,
    /// How the request that was decided last begins.
    pub(crate) next: Option<(u64, Manner)>,
    is_stopping: bool,
}

#[derive(Debug)]
pub(crate) struct UnderWay<U, C, G> {
    pub(crate) request: Request<U, C, G>,
    pub(crate) began: Instant,
    pub(crate) contention: Option<Contention>,
    was_stopped: bool,
    has_group_ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With a new visit.
    NewVisit,
    /// In the same visit, as the next one in the rounds: nothing is to be saved.
    InTurn,
    /// In the same visit, before others whose turn it would be.
    GoesOn,
}

impl<U: Id, C: Id, G: Id> Schedule<U, C, G> {
    /// Nobody waits yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rounds: Rounds::default(),
            reset_cost: ResetCost::default(),
            comebacks: Comebacks::default(),
            debts: Debts::default(),
            raised: None,
            is_reset_due: false,
            visit: None,
            turn: None,
            next: None,
            is_stopping: false,
        }
    }

    /// The requests that wait.
    pub fn rounds(&self) -> &Rounds<U, C, G> {
        &self.rounds
    }

    /// A request came.
    pub fn push(&mut self, request: Request<U, C, G>, now: Instant) {
        if self.rounds.requests_of(request.user) == 0 {
            self.debts.on_return(request.user, now);
        }
        self.comebacks.on_request(request.caller, now);
        self.rounds.push(request);
        self.contend(now);
    }

    /// A request no longer waits.
    pub fn remove(&mut self, number: u64, now: Instant) -> Option<Request<U, C, G>> {
        let removed = self.rounds.remove(number);
        self.contend(now);
        removed
    }

    /// Takes out one request whose deadline has come. After [`Self::next`], so that a request which waits for no time
    /// gets a card that is free.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Request<U, C, G>> {
        let expired = self.rounds.pop_expired(now);
        self.contend(now);
        expired
    }

    /// The request that [`Self::next`] named has its turn. The time of an isolation reset before it is not the visit's.
    pub fn on_turn_began(&mut self, number: u64, now: Instant) {
        let (_, manner) = self.next.take().filter(|(next, _)| *next == number).unwrap_or((number, Manner::NewVisit));
        let Some(request) = self.rounds.take(number, manner != Manner::GoesOn) else { return };
        let reset = self.demands_reset(&request);
        match &mut self.visit {
            Some(visit) if manner != Manner::NewVisit => visit.turn_begins(request.caller, now),
            _ => {
                let before = self.end_visit();
                let entering = reset || before.is_some_and(|before| before.lends_entering_cost_to(&request));
                let debt = self.debts.settle(request.user);
                let began = (!reset).then_some(now);
                self.visit = Some(Visit::new(&request, entering, debt, began, now));
            }
        }
        self.turn =
            Some(UnderWay { request, began: now, contention: None, was_stopped: false, has_group_ended: false });
        self.contend(now);
    }

    /// The card was reset, and for an isolation reset, so long it took. Ends a visit between turns.
    pub fn on_reset(&mut self, isolation_took: Option<Duration>, now: Instant) {
        if let Some(took) = isolation_took {
            self.reset_cost.on_reset(took);
        }
        (self.raised, self.is_reset_due) = (None, false);
        match (&self.turn, &mut self.visit) {
            (Some(_), Some(visit)) => visit.reset_done(now),
            (Some(_), None) => {}
            (None, _) => drop(self.end_visit()),
        }
    }

    /// The turn under way has ended, at the moment of its last answer.
    pub fn on_turn_ended(&mut self, left: Left, now: Instant) {
        let Some(turn) = self.turn.take() else { return };
        self.rounds.end_turn();
        self.raised = left.raised.then_some(turn.request.group);
        if let Some(visit) = &mut self.visit {
            visit.turn_ends(left, now);
        }
        if turn.has_group_ended {
            self.on_group_ended(turn.request.group);
        }
        if self.rounds.oldest_of(turn.request.caller).is_none() {
            self.comebacks.on_chance(turn.request.caller, now, linger(self.quantum()));
        }
    }

    /// The turn under way has ended and nothing was sent in it: what is in the card was left by the turn before.
    pub fn on_turn_unused(&mut self, now: Instant) {
        let Some(turn) = &self.turn else { return };
        let (group, raised) = (turn.request.group, self.raised);
        self.on_turn_ended(Left { raised: raised == Some(group), ..Left::default() }, now);
        self.raised = raised;
    }

    /// The card was taken, lost, removed or let go.
    pub fn on_card_changed(&mut self) {
        (self.raised, self.is_reset_due) = (None, false);
        self.end_visit();
    }

    /// A group has ended: its visit is over, at the end of the turn under way at the latest, and what it has left in
    /// the card is to be reset.
    pub fn on_group_ended(&mut self, group: G) {
        if let Some(turn) = &mut self.turn {
            turn.has_group_ended |= turn.request.group == group;
            return;
        }
        self.is_reset_due |= self.raised == Some(group);
        if self.visit.as_ref().is_some_and(|visit| visit.group == group) {
            self.end_visit();
        }
    }

    /// The broker stops: no further turn begins.
    pub fn on_stopping(&mut self) {
        self.is_stopping = true;
    }

    /// Whether the card is to be reset now, whoever waits: what is left in it belongs to a group that has ended.
    pub fn is_reset_due(&self) -> bool {
        self.is_reset_due && self.turn.is_none()
    }

    /// The contention for the turn under way: callers of other groups only.
    pub fn contention(&self) -> Option<Contention> {
        self.turn.as_ref()?.contention
    }

    /// The visit is over, if there is one.
    fn end_visit(&mut self) -> Option<Visit<U, C, G>> {
        self.collect();
        self.visit.take()
    }

    /// What the last turn of the visit overran becomes the user's debt, once.
    fn collect(&mut self) {
        let quantum = self.quantum();
        let Some(visit) = &mut self.visit else { return };
        if let Some(overrun) = visit.take_overrun(quantum) {
            self.debts.on_overrun(visit.user, overrun, quantum, visit.last_answer);
        }
    }

    /// Counts anew who waits for the turn under way.
    fn contend(&mut self, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        let (callers, users) = self.rounds.others(turn.request.user, turn.request.group);
        let since = turn.contention.map_or(now, |contention| contention.since);
        turn.contention = (callers > 0).then_some(Contention { since, users });
    }
}
