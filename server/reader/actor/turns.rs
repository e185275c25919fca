//! The actor's part that concerns those who ask: who gets the next turn, and how a turn begins and ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::super::inbox::{Disposition, Grant, Message, Purpose, SessionOver, SessionTicket, Waiting, shutting_down};
use super::super::jobs::{Job, UnitJob};
use super::super::lease::{Activity, Terms, Verdict};
use super::super::queue;
use super::super::status::card_removed;
use super::super::turn::Turn;
use super::{Actor, Work, unplugged};
use crate::{
    audit,
    backend::{CardInfo, ResetKind, SlotError},
    error::{Failure, Reason},
    group::GroupMark,
    permit::Permit,
};

/// How often those who wait for a session hear of their place.
const POSITION_INTERVAL: Duration = Duration::from_millis(50);

/// The session that has the card.
pub(super) struct Holding {
    number: queue::Ticket,
    group: GroupMark,
    permit: Permit,
    terms: Terms,
    activity: Arc<Activity>,
    /// Since when others wait.
    contended: Option<Instant>,
    waiters: watch::Sender<usize>,
    over: watch::Sender<Option<SessionOver>>,
}

/// When those who wait for a session hear of their place next.
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
    pub(super) fn asked(&mut self, message: Message) {
        let now = Instant::now();
        match message {
            Message::Submit { waiting, .. } if self.stopping => waiting.end(shutting_down()),
            Message::Submit { waiting, .. } if !self.plugged => waiting.end(unplugged()),
            Message::Submit { number, caller, waiting } => {
                let refusal = self.life.refusal().filter(|refusal| waiting.turn().is_told(refusal));
                let is_session = matches!(waiting.purpose, Purpose::Session(_));
                let deadline = waiting.deadline();
                if let Some(failure) = refusal {
                    waiting.end(failure);
                } else if let Err((waiting, full)) = self.queue.push(number, caller, deadline, waiting) {
                    waiting.end(Failure::not_sent(Reason::QueueFull, full.to_string()));
                } else if is_session {
                    self.positions.sessions += 1;
                    self.positions.due = Some(now);
                }
            }
            Message::Return { number, disposition, done } => self.give_back(number, disposition, done),
        }
        self.positions.moved(now);
    }

    /// Someone no longer waits, or a session is over because its holder says so.
    fn give_back(&mut self, number: queue::Ticket, disposition: Disposition, done: Option<oneshot::Sender<()>>) {
        if self.queue.remove(number).is_some() {
            return;
        }
        if let Work::Session(holding) = &self.work
            && holding.number == number
        {
            holding.permit.audit(audit::Session::Ended { left: disposition == Disposition::Leave });
            self.turn_over(disposition, done);
        }
    }

    /// Gives the next one its turn, if it still wants it and its conditions hold.
    pub(super) fn serve_next(&mut self, now: Instant) {
        let Some((number, waiting)) = self.queue.pop() else { return };
        self.positions.moved(now);
        let broken = waiting.turn().broken_condition(&self.life.insertion_id(), &self.life.state_tag());
        // The policy may have changed while it waited.
        if let Some(failure) = broken.or_else(|| waiting.permit().holds().err()) {
            waiting.end(failure);
            return;
        }
        let reset = if self.isolation.demands_reset(&waiting.group) {
            Some(self.isolation_reset)
        } else {
            waiting.turn().reset_first.then_some(ResetKind::Warm)
        };
        let Waiting { group, purpose } = waiting;
        match (purpose, reset) {
            (Purpose::Unit(ticket), reset) => {
                if ticket.begin(self.turn(now, reset.is_some())) {
                    self.life.turn_begins();
                    let job = UnitJob { ticket: Arc::clone(&ticket), lease: self.leases.grant(), reset };
                    self.give(Job::Unit(job), Work::Unit { ticket, group });
                }
            }
            (Purpose::Session(session), Some(kind)) => {
                let waiting = Waiting { group, purpose: Purpose::Session(session) };
                self.give(Job::Reset(kind), Work::Opening { number, waiting });
            }
            (Purpose::Session(session), None) => self.grant(number, group, session, false, now),
        }
    }

    fn turn(&self, now: Instant, reset: bool) -> Turn {
        Turn {
            insertion_id: self.life.insertion_id(),
            state_tag: self.life.next_state_tag(),
            began: now,
            reset: reset || self.life.was_reset_since_turn(),
        }
    }

    fn grant(&mut self, number: queue::Ticket, group: GroupMark, session: SessionTicket, reset: bool, now: Instant) {
        let card = self.life.card().cloned().ok_or_else(|| self.life.refusal().unwrap_or_else(card_removed));
        // The policy may have changed during a reset.
        let card = match card.and_then(|card| session.permit.holds().map(|()| card)) {
            Ok(card) => card,
            Err(refusal) => {
                // An error means that nobody waits any more.
                let _ = session.grant.send(Err(refusal));
                return;
            }
        };
        let (waiters, waiters_seen) = watch::channel(0);
        let (over, over_seen) = watch::channel(None);
        let activity = Arc::new(Activity::new(now));
        let grant = Grant {
            turn: self.turn(now, reset),
            card,
            lease: self.leases.grant(),
            activity: Arc::clone(&activity),
            jobs: self.jobs.clone(),
            waiters: waiters_seen,
            over: over_seen,
        };
        let terms = Terms {
            began: now,
            idle_timeout: session.request.idle_timeout,
            max_contended_lease: self.max_contended_lease,
        };
        if session.grant.send(Ok(grant)).is_err() {
            // Its caller has gone meanwhile.
            self.leases.end();
            return;
        }
        self.life.turn_begins();
        let permit = session.permit;
        permit.audit(audit::Session::Began);
        self.hangs = false;
        let holding = Holding { number, group, permit, terms, activity, contended: None, waiters, over };
        self.work = Work::Session(Box::new(holding));
    }

    /// Looks whether the session that has the card must give way, and tells it who waits.
    pub(super) fn judge_session(&mut self, now: Instant) {
        let Work::Session(holding) = &mut self.work else { return };
        let callers = self.queue.callers();
        holding.contended = (callers > 0).then(|| holding.contended.unwrap_or(now));
        holding.waiters.send_if_modified(|told| std::mem::replace(told, callers) != callers);
        let cause = match holding.terms.judge(now, holding.contended, holding.activity.idle_since()) {
            Verdict::GoOn(_) => return,
            Verdict::Idles => "the session idled while others waited: open a new one",
            Verdict::TooLong => "the session held the card for as long as it may while others wait: open a new one",
        };
        self.end_session(Failure::not_sent(Reason::LeaseRevoked, cause));
    }

    /// When the session that has the card is to be looked at again.
    pub(super) fn session_deadline(&self, now: Instant) -> Option<Instant> {
        let Work::Session(holding) = &self.work else { return None };
        match holding.terms.judge(now, holding.contended, holding.activity.idle_since()) {
            Verdict::GoOn(look) => look,
            Verdict::Idles | Verdict::TooLong => Some(now),
        }
    }

    /// Ends the session that has the card, if there is one, and tells its holder why.
    pub(super) fn end_session(&mut self, failure: Failure) {
        let Work::Session(holding) = &self.work else { return };
        holding.permit.audit(audit::Session::EndedByBroker(&failure));
        holding.over.send_replace(Some(SessionOver { failure, hangs: self.hangs }));
        self.turn_over(Disposition::Reset, None);
    }

    /// Ends the session that has the card if a new policy forbids it.
    pub(super) fn end_forbidden_session(&mut self) {
        if let Work::Session(holding) = &self.work
            && let Err(failure) = holding.permit.holds()
        {
            self.end_session(failure);
        }
    }

    /// Ends the wait of the session that has the turn but not its reset card yet, if there is one. The reset goes on.
    pub(super) fn refuse_opening(&mut self, failure: Failure) {
        if matches!(self.work, Work::Opening { .. })
            && let Work::Opening { waiting, .. } = std::mem::replace(&mut self.work, Work::Handling)
        {
            waiting.end(failure);
        }
    }

    /// The lease is over. What was sent under it comes before the turnover in the card thread's queue.
    fn turn_over(&mut self, disposition: Disposition, done: Option<oneshot::Sender<()>>) {
        let Work::Session(holding) = std::mem::replace(&mut self.work, Work::None) else { return };
        self.leases.end();
        let reset = match disposition {
            Disposition::Reset => Some(self.isolation_reset),
            Disposition::Leave => None,
        };
        let hangs = self.hangs;
        self.give(Job::Turnover(reset), Work::Turnover { group: holding.group, done });
        self.hangs = hangs;
    }

    /// The session's last task is done, and the card is reset or left.
    pub(super) fn quiesced(
        &mut self,
        reset: Option<Result<CardInfo, SlotError>>,
        raised: bool,
        now: Instant,
    ) -> Option<Failure> {
        let work = std::mem::replace(&mut self.work, Work::None);
        let verdict = match reset {
            Some(reset) => {
                self.isolation.reset();
                self.life.was_reset(reset, now)
            }
            None => {
                if let Work::Turnover { group, .. } = &work {
                    self.isolation.used(group, raised);
                }
                self.life.left(now)
            }
        };
        if let Work::Turnover { done: Some(done), .. } = work {
            // An error means that the holder has gone.
            let _ = done.send(());
        }
        verdict
    }

    /// The card was reset: between groups, for a session that begins, or by a session.
    pub(super) fn was_reset(&mut self, reset: Result<CardInfo, SlotError>, now: Instant) -> Option<Failure> {
        self.isolation.reset();
        let is_reset = reset.is_ok();
        let verdict = self.life.was_reset(reset, now);
        match std::mem::replace(&mut self.work, Work::None) {
            Work::Opening { number, waiting: Waiting { group, purpose: Purpose::Session(session) } } => {
                if is_reset {
                    self.grant(number, group, session, true, now);
                } else {
                    let failed =
                        || Failure::not_sent(Reason::ResetFailed, "the reset before the session failed: retry");
                    let _ = session.grant.send(Err(self.life.refusal().unwrap_or_else(failed)));
                }
            }
            work @ (Work::Session(_) | Work::Turnover { .. }) => self.work = work,
            _ => {}
        }
        verdict
    }

    /// Answers those who wait for their turn, but not for what `verdict` says is missing.
    pub(super) fn turn_away(&mut self, verdict: Option<Failure>) {
        let Some(failure) = verdict else { return };
        for waiting in self.queue.remove_if(|waiting| waiting.turn().is_told(&failure)) {
            waiting.end(failure.clone());
        }
    }

    pub(super) fn end_all(&mut self, failure: &Failure) {
        for waiting in self.queue.remove_if(|_| true) {
            waiting.end(failure.clone());
        }
    }

    /// Tells those who wait for a session how many turns come before theirs.
    pub(super) fn tell_positions(&mut self, now: Instant) {
        if self.positions.due.is_none_or(|due| due > now) {
            return;
        }
        self.positions.due = None;
        let busy = usize::from(!matches!(self.work, Work::None));
        let mut sessions = 0;
        for (number, waiting) in self.queue.iter() {
            if let Purpose::Session(session) = &waiting.purpose {
                sessions += 1;
                let ahead = busy + self.queue.turns_ahead(number).unwrap_or_default();
                session.turns_ahead.send_if_modified(|told| std::mem::replace(told, ahead) != ahead);
            }
        }
        self.positions.sessions = sessions;
    }
}
