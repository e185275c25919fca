//! The rule of turns at one reader: which request has the next turn, and how long the free card waits for its last
//! caller. Pure: times are arguments, and the actor carries out the decisions of [`Schedule::next`].
//!
//! A *visit* is consecutive turns of one isolation group of one user. It is one turn, unless it began with a reset of
//! the card (entering costs) or requires one after it (leaving costs); then it goes on for a quantum.
//!
//! ```text
//!                  Start, then on_turn_began
//!   no turn ─────────────────────────────────▶ current turn ── Stop ──▶ the unit stops, or the lease ends
//!    │  ▲ ▲                                        │
//!    │  │ └──────────── on_turn_ended ─────────────┘
//!    │  └ on_reset ─┐
//!    ├──── Reset ───┘   the card holds security state of a group that has ended
//!    ├──── Linger ───▶  the card waits for the visit's caller; ask again at that time, or after a report
//!    └──── Idle ─────▶  no request waits; the open turn of a resting handle stays open
//! ```
//!
//! The actor reports these events:
//!
//! * each request ([`Schedule::push`]), and each one that leaves without a turn ([`Schedule::remove`],
//!   [`Schedule::pop_expired`]);
//! * the beginning of a turn, and its end with the state in which it leaves the card;
//! * the end of each reset, with its time for an isolation reset;
//! * a card that was taken, lost or removed;
//! * the end of a group, and the stop of the broker.
//!
//! It does not report a session's commands. A request with a failed condition is removed, which neither ends nor
//! extends the visit.

mod decide;
mod decision;

use std::time::{Duration, Instant};

pub use self::decision::{Decision, TurnSettings};
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
    /// The limits of the reader. Never change.
    pub(crate) settings: TurnSettings,
    /// The waiting requests, in the order of users and callers.
    pub(crate) rounds: Rounds<U, C, G>,
    /// The usual time of an isolation reset, by which a quantum is measured.
    pub(crate) reset_cost: ResetCost,
    /// How often each caller has come back in time, for which the free card may wait.
    pub(crate) comebacks: Comebacks<C>,
    /// The time on the card that users have had beyond their share.
    pub(crate) debts: Debts<U>,
    /// The group that has left security state in the card, if any.
    pub(crate) raised: Option<G>,
    /// Whether the group in `raised` has ended.
    pub(crate) is_reset_due: bool,
    /// The visit that goes on; `None` before the first turn, and after its end.
    pub(crate) visit: Option<Visit<U, C, G>>,
    /// The turn that goes on.
    pub(crate) turn: Option<UnderWay<U, C, G>>,
    /// The request of the last [`Decision::Start`], and how its turn begins.
    pub(crate) next: Option<(u64, Continuation)>,
    /// Whether the broker stops: no further turn begins.
    is_stopping: bool,
}

#[derive(Debug)]
pub(crate) struct UnderWay<U, C, G> {
    pub(crate) request: Request<U, C, G>,
    pub(crate) began: Instant,
    pub(crate) contention: Option<Contention>,
    has_group_ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuation {
    /// The turn begins a new visit.
    NewVisit,
    /// The turn continues the visit, and is also the next one in the rounds.
    InTurn,
    /// The turn continues the visit, before others that are next in the rounds.
    GoesOn,
}

impl<U: Id, C: Id, G: Id> Schedule<U, C, G> {
    /// Creates a schedule without requests.
    pub fn new(settings: TurnSettings) -> Self {
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

    /// The waiting requests in their rounds.
    pub fn rounds(&self) -> &Rounds<U, C, G> {
        &self.rounds
    }

    /// Adds a request that has arrived.
    pub fn push(&mut self, request: Request<U, C, G>, now: Instant) {
        if self.rounds.requests_of(request.user) == 0 {
            self.debts.on_return(request.user, now);
        }
        self.comebacks.on_request(request.caller, now);
        self.rounds.push(request);
        self.contend(now);
    }

    /// Removes a request that no longer waits.
    pub fn remove(&mut self, number: u64, now: Instant) -> Option<Request<U, C, G>> {
        let removed = self.rounds.remove(number)?;
        self.contend(now);
        Some(removed)
    }

    /// Removes one request whose deadline has passed. Called after [`Self::next`], so that a request with a wait of
    /// zero gets a free card.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Request<U, C, G>> {
        let expired = self.rounds.pop_expired(now)?;
        self.contend(now);
        Some(expired)
    }

    /// Records that the turn of a request began, after [`Decision::Start`]. The time of an isolation reset before it
    /// does not count as time of the visit.
    pub fn on_turn_began(&mut self, number: u64, now: Instant) {
        let (_, manner) =
            self.next.take().filter(|(next, _)| *next == number).unwrap_or((number, Continuation::NewVisit));
        let Some(request) = self.rounds.take(number, manner != Continuation::GoesOn) else { return };
        let reset = self.demands_reset(&request);
        match &mut self.visit {
            Some(visit) if manner != Continuation::NewVisit => visit.turn_begins(&request, now),
            _ => {
                let before = self.end_visit();
                let entering = reset || before.is_some_and(|before| before.shares_entering_cost_with(&request));
                let debt = self.debts.take(request.user);
                self.visit = Some(Visit::new(&request, entering, debt, reset, now));
            }
        }
        // The reset before a unit is reported with the unit's end; until then its time is an estimate.
        let began = if reset { now + self.reset_cost.median() } else { now };
        self.turn = Some(UnderWay { request, began, contention: None, has_group_ended: false });
        self.contend(now);
    }

    /// Records that the card was reset, with the time that it took if it was an isolation reset. Ends a visit between
    /// turns.
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

    /// Records that the current turn ended with its last answer at `now`, and how it leaves the card.
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

    /// Records that an operator ended the last turn. Its visit is over, and its user is visited again only after all
    /// users that wait.
    pub fn on_released(&mut self) {
        self.end_visit();
        self.rounds.end_share();
    }

    /// Records that the current turn ended and sent nothing. The card is as the turn before left it.
    pub fn on_turn_unused(&mut self, now: Instant) {
        let Some(turn) = &self.turn else { return };
        let (group, raised) = (turn.request.group, self.raised);
        self.on_turn_ended(Left { raised: raised == Some(group), ..Left::default() }, now);
        self.raised = raised;
    }

    /// Records that the card was taken, lost, removed or released.
    pub fn on_card_changed(&mut self) {
        (self.raised, self.is_reset_due) = (None, false);
        self.end_visit();
    }

    /// Whether a group may have security state in the card.
    pub fn is_raised(&self) -> bool {
        self.raised.is_some()
    }

    /// Records that a group has ended. Its visit ends, at the latest with the current turn. If the group has left
    /// security state in the card, a reset is due.
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

    /// Records that the broker stops. No further turn begins.
    pub fn on_stopping(&mut self) {
        self.is_stopping = true;
    }

    /// Whether callers of other groups wait during the current turn.
    pub fn is_contended(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.contention.is_some())
    }

    /// Whether a reset is due now, before any waiting request: a group that has ended left security state in the card.
    pub fn is_reset_due(&self) -> bool {
        self.is_reset_due && self.turn.is_none()
    }

    /// Ends the visit, if there is one.
    fn end_visit(&mut self) -> Option<Visit<U, C, G>> {
        self.book_overrun();
        self.visit.take()
    }

    /// Adds the overrun of the visit's last turn to the user's debt, once.
    fn book_overrun(&mut self) {
        let quantum = self.quantum();
        let Some(visit) = &mut self.visit else { return };
        if let Some(overrun) = visit.take_overrun(quantum) {
            self.debts.on_overrun(visit.user, overrun, quantum, visit.last_answer);
        }
    }

    /// Counts the callers that wait during the current turn again.
    fn contend(&mut self, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        let (callers, users) = self.rounds.others(turn.request.user, turn.request.group);
        let since = turn.contention.map_or(now, |contention| contention.since);
        // Looked for only if there is one: it may be behind many requests of the own group.
        let oldest = || self.rounds.oldest_of_others(turn.request.user, turn.request.group);
        let oldest = if callers > 0 { oldest() } else { None };
        turn.contention = oldest.map(|oldest| Contention { since, users, oldest });
    }
}
