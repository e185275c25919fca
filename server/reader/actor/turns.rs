//! The part of the actor for requests: the choice of the next turn, and how a unit begins and ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::{Failure, Reason},
    slot::ResetKind,
    turns::{
        request::RequestNumber,
        schedule::Decision,
        turn::{CardNow, Disposition, Turn},
    },
};

use super::{Actor, Work, machine::ReaderPhase, reports::unplugged};
use crate::reader::{
    inbox::{Manner, Message, Purpose, UnitTicket, Waiting},
    jobs::{Job, UnitJob},
};

/// The interval at which waiters for a session get their positions.
const POSITION_INTERVAL: Duration = Duration::from_millis(50);

/// The schedule of positions for waiters for a session.
#[derive(Default)]
pub(super) struct Positions {
    sessions: usize,
    due: Option<Instant>,
}

impl Positions {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn moved(&mut self, now: Instant) {
        if self.sessions > 0 && self.due.is_none() {
            self.due = Some(now + POSITION_INTERVAL);
        }
    }
}

impl Actor {
    pub(super) fn on_message(&mut self, message: Message) {
        let now = Instant::now();
        match message {
            Message::Submit { waiting, .. } if self.phase.is_ending() => self.refuse(waiting, self.ended(), now),
            Message::Submit { waiting, .. } if self.phase == ReaderPhase::Unplugged => {
                self.refuse(waiting, unplugged(), now);
            }
            Message::Submit { number, caller, waiting } => {
                let refusal = self.lifecycle.refusal().filter(|refusal| waiting.turn().is_refused_by(refusal));
                let is_session = matches!(waiting.purpose, Purpose::Session(_));
                if let Some(failure) = refusal {
                    self.refuse(waiting, failure, now);
                } else if let Err(refused) = self.schedule.push(number, caller, waiting, now) {
                    let (waiting, full) = *refused;
                    self.refuse(waiting, Failure::not_sent(Reason::QueueFull, full.to_string()), now);
                } else if is_session {
                    self.positions.sessions += 1;
                    self.positions.due = Some(now);
                }
            }
            Message::Cancel { number, manner } => self.cancel(number, manner, now),
        }
        self.positions.moved(now);
    }

    /// Removes the waiting request with this number, or closes the session with this number.
    fn cancel(&mut self, number: RequestNumber, manner: Manner, now: Instant) {
        match self.schedule.remove(number, now) {
            Some(waiting) => self.record_not_served(waiting.access().origin(), None, now),
            None => self.close_session(number, manner),
        }
    }

    /// Carries out the rule's next decision on the free card. Returns `false` if nothing is due now.
    pub(super) fn serve_next(&mut self, now: Instant) -> bool {
        match self.schedule.next(now) {
            Decision::Start { number, reset, .. } => {
                self.begin_turn(number, reset.then_some(self.isolation_reset), now);
                true
            }
            Decision::Linger(end) => {
                self.next_check = Some(end);
                false
            }
            Decision::Reset | Decision::Idle | Decision::Busy(_) | Decision::Stop => false,
        }
    }

    /// Begins the turn of a request if its caller still waits and its conditions hold. Checks the conditions before the
    /// `isolation` reset, because no other request needs that reset.
    fn begin_turn(&mut self, number: RequestNumber, isolation: Option<ResetKind>, now: Instant) {
        self.positions.moved(now);
        let Some(waiting) = self.schedule.get(number) else {
            // A defect: the rule knows a request that does not wait. Without its removal it would come next for ever.
            self.schedule.remove(number, now);
            return;
        };
        let broken = waiting.broken_condition(CardNow {
            insertion_id: &self.lifecycle.insertion_id(),
            state_tag: &self.lifecycle.state_tag(),
            is_raised: self.schedule.is_raised(),
        });
        // The policy may have changed during the wait.
        if let Some(failure) = broken.or_else(|| waiting.access().holds().err()) {
            if let Some(waiting) = self.schedule.remove(number, now) {
                self.refuse(waiting, failure, now);
            }
            return;
        }
        let reset = waiting.turn().first_reset(isolation);
        if let Purpose::Unit(unit) = &waiting.purpose
            && !unit.ticket.begin(self.turn_at(now, reset.is_some()))
        {
            // Its caller has disconnected.
            if let Some(waiting) = self.schedule.remove(number, now) {
                self.record_not_served(waiting.access().origin(), None, now);
            }
            return;
        }
        let Some(Waiting { group, purpose }) = self.schedule.on_turn_began(number, now) else { return };
        match (purpose, reset) {
            (Purpose::Unit(UnitTicket { ticket, disposition, .. }), reset) => {
                self.lifecycle.on_turn();
                let granted = self.leases.grant();
                let lease = granted.number();
                let commands = Some(ticket.commands.len());
                self.note_caller(ticket.access.origin().caller.key);
                self.record_turn_began(ticket.access.origin(), lease, ticket.arrived, commands, now);
                let job = UnitJob { ticket: Arc::clone(&ticket), lease: granted, reset };
                self.start(Job::Unit(job), Work::Unit { ticket, disposition, lease, since: now });
            }
            (Purpose::Session(session), Some(kind)) => {
                let waiting = Waiting { group, purpose: Purpose::Session(session) };
                self.start(Job::Reset(kind), Work::Opening { number, waiting, since: now });
            }
            (Purpose::Session(session), None) => self.grant(number, session, false, now),
        }
    }

    /// Ends the current turn if it has reached its maximum time while callers of other groups wait.
    pub(super) fn bound_turn(&mut self, now: Instant) {
        let is_turn = matches!(self.worker.work(), Some(Work::Unit { .. } | Work::Session(_)));
        if !is_turn || self.worker.hangs() {
            return;
        }
        let is_session = matches!(self.worker.work(), Some(Work::Session(_)));
        if is_session && self.leases.is_stop_requested() {
            return self.stop_session(now);
        }
        match self.schedule.next(now) {
            Decision::Busy(check) => {
                // The waiters have left.
                self.leases.withdraw_stop();
                self.next_check = check;
            }
            Decision::Stop if is_session => self.stop_session(now),
            // The card thread checks for the request to stop before each exchange.
            Decision::Stop => drop(self.leases.request_stop(now)),
            Decision::Start { .. } | Decision::Reset | Decision::Linger(_) | Decision::Idle => {}
        }
    }

    /// Applies the disposition of a unit that has ended. No effect if there is no usable card any more (a card is reset
    /// when it is taken) or if the broker stops (the card is reset when it is released).
    pub(super) fn dispose(&mut self, disposition: Disposition) {
        if let Some(kind) = disposition.reset(self.isolation_reset)
            && self.lifecycle.card().is_some()
            && !self.phase.is_ending()
        {
            self.start(Job::Reset(kind), Work::Handling);
        }
    }

    /// Returns the facts of a turn that begins at `now`. `reset` is whether the card is reset for this turn; a reset
    /// since the last turn counts as well.
    pub(super) fn turn_at(&self, now: Instant, reset: bool) -> Turn {
        Turn {
            insertion_id: self.lifecycle.insertion_id(),
            state_tag: self.lifecycle.next_state_tag(),
            began: now,
            reset: reset || self.lifecycle.was_reset_since_turn(),
        }
    }

    /// Refuses waiting requests that cannot wait for the cause of `refusal` to end.
    pub(super) fn refuse_waiters(&mut self, refusal: Option<Failure>, now: Instant) {
        let Some(failure) = refusal else { return };
        for waiting in self.schedule.remove_if(now, |waiting| waiting.turn().is_refused_by(&failure)) {
            self.refuse(waiting, failure.clone(), now);
        }
    }

    /// Ends all waiting requests with `failure`. The request that has the turn is not affected.
    pub(super) fn end_all(&mut self, failure: &Failure, now: Instant) {
        for waiting in self.schedule.remove_if(now, |_| true) {
            self.refuse(waiting, failure.clone(), now);
        }
    }

    /// Sends each waiter for a session its number of turns ahead.
    pub(super) fn send_positions(&mut self, now: Instant) {
        if self.positions.due.is_none_or(|due| due > now) {
            return;
        }
        self.positions.due = None;
        let busy = self.turns_under_way();
        let mut sessions = 0;
        for (before, waiting) in self.schedule.in_order().enumerate() {
            if let Purpose::Session(session) = &waiting.purpose {
                sessions += 1;
                let ahead = busy + before;
                session.turns_ahead.send_if_modified(|current| std::mem::replace(current, ahead) != ahead);
            }
        }
        self.positions.sessions = sessions;
    }
}
