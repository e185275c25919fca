//! The part of the actor for sessions: how a session begins, gives way to waiters, and ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::CallerKey,
    error::{Cause, Failure, Reason},
    journal::{Origin, TurnEnd},
    slot::{CardInfo, ResetKind, SlotError},
    status::card_removed,
    turns::{
        bounds,
        lease::{Activity, LeaseNumber, Terms, Verdict},
        request::RequestNumber,
        turn::{Disposition, Left},
    },
};
use tokio::sync::{oneshot, watch};

use super::{Actor, Work, journal::SessionTurn};
use crate::{
    policy::{access::Access, audit},
    reader::{
        inbox::{Grant, Manner, Purpose, SessionOver, SessionTicket, Waiting},
        jobs::Job,
        spans::SessionSpan,
    },
};

/// The interval of checks whether a session that must stop has an open command, chain or answer.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// A session that has the card, on the actor's side. [`Actor::grant`] creates it, [`Actor::end_session_turn`] ends it.
pub(super) struct ActiveSession {
    /// The number by which the holder returns the lease.
    number: RequestNumber,
    /// The caller and its permissions. Checked again when the policy changes.
    access: Access,
    /// The disposition of the card if the session ends normally.
    disposition: Disposition,
    /// The events that the audit trail records.
    records: audit::SessionRecords,
    /// The lease of the session's turn.
    lease: LeaseNumber,
    /// The arrival of the request.
    arrived: Instant,
    /// The beginning of the session's turn.
    began: Instant,
    /// The time from which other callers have waited, of any group. Set by [`Actor::judge_session`]; `None` while none
    /// waits.
    contended: Option<Instant>,
    /// Whether a task is in progress, and how long the session may idle. Written by the holder and the card thread,
    /// read here.
    activity: Arc<Activity>,
    /// Sends the holder the number of waiting callers.
    waiters: watch::Sender<usize>,
    /// Tells the holder whether one of them belongs to another isolation group.
    others_wait: Arc<AtomicBool>,
    /// Sends the holder the reason if the broker ends the session. Dropped without a reason after a normal end.
    over: watch::Sender<Option<SessionOver>>,
    /// The session's line in the log, written when the lease ends.
    record: SessionSpan,
}

impl ActiveSession {
    /// The beginning of the session's turn.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The caller and its permissions.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// The request that has the session.
    pub(super) fn origin(&self) -> &Arc<Origin> {
        self.access.origin()
    }

    /// The lease of the session's turn.
    pub(super) fn lease(&self) -> LeaseNumber {
        self.lease
    }

    /// The arrival of the request.
    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Since when none of its tasks has run; `None` while one runs.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.activity.idle_since()
    }
}

impl Actor {
    /// Begins a session's turn: sends the caller its [`Grant`], and makes the session the card thread's work. Refuses
    /// the request instead if no card is usable or the policy forbids the session by now. `reset` is whether the card
    /// was reset for this session.
    pub(super) fn grant(&mut self, number: RequestNumber, session: Box<SessionTicket>, reset: bool, now: Instant) {
        let card = self.lifecycle.card().cloned().ok_or_else(|| self.lifecycle.refusal().unwrap_or_else(card_removed));
        // The policy may have changed during a reset.
        let card = match card.and_then(|card| session.access.holds().map(|()| card)) {
            Ok(card) => card,
            Err(refusal) => {
                self.schedule.on_turn_ended(None, now);
                self.refuse_session(*session, refusal, now);
                return;
            }
        };
        let (waiters, waiters_seen) = watch::channel(0);
        let (over, over_seen) = watch::channel(None);
        let others_wait = Arc::<AtomicBool>::default();
        let activity = Arc::new(Activity::new(now, Terms::while_others_wait(session.request.idle_timeout)));
        let granted = self.leases.grant();
        let (lease, arrived) = (granted.number(), session.arrived);
        let grant = Grant {
            turn: self.turn_at(now, reset),
            card,
            marks: Arc::clone(&self.marks),
            lease: granted,
            activity: Arc::clone(&activity),
            jobs: self.jobs.clone(),
            waiters: waiters_seen,
            others_wait: Arc::clone(&others_wait),
            over: over_seen,
        };
        // Before the grant, with which the holder may send its first task at once.
        self.record_turn_began(session.access.origin(), lease, arrived, None, now);
        if session.grant.send(Ok(grant)).is_err() {
            // The caller has disconnected in the meantime.
            self.leases.end();
            self.schedule.on_turn_ended(None, now);
            self.record_turn_ended(session.access.origin(), lease, now, TurnEnd::Abandoned, now);
            return;
        }
        self.lifecycle.on_turn();
        let (access, mut record) = (session.access, session.record);
        record.begin(now);
        let (disposition, records) = (session.request.disposition, session.request.records);
        if self.note_caller(access.origin().caller.key) || records == audit::SessionRecords::Each {
            access.audit(audit::SessionRecord::Began);
        }
        let holding = ActiveSession {
            number,
            access,
            disposition,
            records,
            lease,
            arrived,
            began: now,
            contended: None,
            activity,
            waiters,
            others_wait,
            over,
            record,
        };
        // The session itself sends the thread its tasks.
        self.worker.begin(Work::Session(Box::new(holding)));
        // Others may wait already, and give the actor no other reason to look.
        self.judge_session(now);
    }

    /// Notes the caller of a turn that begins. Returns whether the turn before was another caller's.
    pub(super) fn note_caller(&mut self, caller: CallerKey) -> bool {
        self.last_caller.replace(caller) != Some(caller)
    }

    /// Checks whether the session that has the card idles for too long, and reports the number of waiters to it.
    pub(super) fn judge_session(&mut self, now: Instant) {
        let Some(Work::Session(holding)) = self.worker.work_mut() else { return };
        let callers = self.schedule.waiting_callers();
        holding.contended = (callers > 0).then(|| holding.contended.unwrap_or(now));
        // Before the number, which wakes the holder.
        holding.others_wait.store(self.schedule.is_contended(), Ordering::Relaxed);
        holding.waiters.send_if_modified(|current| std::mem::replace(current, callers) != callers);
        if holding.activity.terms().judge(now, holding.contended, holding.activity.idle_since()) == Verdict::Idles {
            let message = "the session idled while others waited: open a new one";
            self.end_session(Failure::revoked(Cause::Idle, message));
        }
    }

    /// Ends the session that has the card, because it has used up its time while callers of other groups waited. Waits
    /// for the end of its current command, and for the rest of a chain or an answer, but not for longer than
    /// [`bounds::MAX_OPEN_PAIR`].
    pub(super) fn stop_session(&mut self, now: Instant) {
        let Some(Work::Session(holding)) = self.worker.work() else { return };
        let is_open = holding.activity.idle_since().is_none() || holding.activity.is_pair_open();
        if bounds::stops(self.leases.request_stop(now), now, is_open) {
            let message = "the session held the card for the maximum time while others waited: open a new one";
            self.end_session(Failure::revoked(Cause::TooLong, message));
        } else {
            self.next_check = Some(now + STOP_CHECK);
        }
    }

    /// The time of the next check whether the session that has the card idles for too long.
    pub(super) fn session_deadline(&self, now: Instant) -> Option<Instant> {
        let Some(Work::Session(holding)) = self.worker.work() else { return None };
        match holding.activity.terms().judge(now, holding.contended, holding.activity.idle_since()) {
            Verdict::GoOn(check) => check,
            Verdict::Idles => Some(now),
        }
    }

    /// Ends the session because its holder has closed it or has disconnected (`manner`). No effect unless the session
    /// with this number still has the card.
    pub(super) fn close_session(&mut self, number: RequestNumber, manner: Manner) {
        let Some(Work::Session(holding)) = self.worker.work() else { return };
        if holding.number != number {
            return;
        }
        let (disposition, done, outcome) = match manner {
            Manner::InOrder { done } => (holding.disposition, Some(done), TurnEnd::Ok),
            Manner::Abruptly => (holding.disposition.abruptly(), None, TurnEnd::Abandoned),
        };
        if holding.records == audit::SessionRecords::Each {
            holding.access.audit(audit::SessionRecord::Ended { left: disposition == Disposition::Leave });
        }
        self.end_session_turn(disposition, done, outcome);
    }

    /// Ends the session on the broker's side, abnormally and with a failure for its holder. No effect without a
    /// session. Messages that were read get outcomes of their own; the failure concerns the others, which were not
    /// sent.
    pub(super) fn end_session(&mut self, failure: Failure) {
        let Some(Work::Session(holding)) = self.worker.work() else { return };
        let failure = failure.into_not_sent();
        let outcome = TurnEnd::Failed(failure.reason);
        holding.access.audit(audit::SessionRecord::EndedByBroker(&failure));
        holding.over.send_replace(Some(SessionOver { failure, hangs: self.worker.hangs() }));
        let disposition = holding.disposition.abruptly();
        self.end_session_turn(disposition, None, outcome);
    }

    /// Ends the session as [`Actor::end_session`] does, if the rules in force now forbid it.
    pub(super) fn end_forbidden_session(&mut self) {
        if let Some(Work::Session(holding)) = self.worker.work()
            && let Err(denied) = holding.access.holds()
        {
            let rule = denied.rule().unwrap_or_default();
            let message =
                format!("new rules forbid the session (rule \"{rule}\"): ask the administrator of the broker");
            self.end_session(Failure::revoked_by_rule(rule.into(), message));
        }
    }

    /// Refuses the session whose turn has begun with a reset that is not done, if there is one. The reset continues.
    pub(super) fn refuse_opening(&mut self, failure: Failure, now: Instant) {
        let mut refused = None;
        self.worker.change(|work| match work {
            Work::Opening { waiting, .. } => {
                refused = Some(waiting);
                Work::Handling
            }
            other => other,
        });
        if let Some(waiting) = refused {
            self.schedule.on_turn_ended(None, now);
            self.refuse(waiting, failure, now);
        }
    }

    /// Ends the lease and sends [`Job::EndOfSession`], the step that all ends of a session share. The card thread first
    /// finishes the tasks sent under the lease; a call that hangs continues.
    fn end_session_turn(&mut self, disposition: Disposition, done: Option<oneshot::Sender<()>>, outcome: TurnEnd) {
        if !matches!(self.worker.work(), Some(Work::Session(_))) {
            return;
        }
        self.leases.end();
        self.worker.change(|work| match work {
            Work::Session(holding) => {
                let ActiveSession { access, lease, arrived, began, over, mut record, .. } = *holding;
                record.end(outcome);
                let turn = SessionTurn { origin: Arc::clone(access.origin()), lease, arrived, began, end: outcome };
                Work::EndOfSession { turn, over, done }
            }
            other => other,
        });
        self.send(Job::EndOfSession(disposition.reset(self.isolation_reset)));
    }

    /// Handles the report of [`Job::EndOfSession`]: the last task is done, the card was reset or left, and the next
    /// turn may begin. Returns a refusal for waiters.
    pub(super) fn on_session_end(
        &mut self,
        reset: Option<(ResetKind, Duration, Result<CardInfo, SlotError>)>,
        raised: bool,
        now: Instant,
    ) -> Option<Failure> {
        let work = self.worker.take();
        self.schedule.on_turn_ended(Some(Left { raised, ..Left::default() }), now);
        if self.released_by.take().is_some() {
            self.schedule.on_released();
        }
        if let Some(Work::EndOfSession { turn, .. }) = &work {
            self.record_session_ended(turn, now);
        }
        let refusal = match reset {
            Some((kind, took, reset)) => {
                if reset.is_ok() {
                    self.on_card_reset(kind, took, now);
                }
                self.lifecycle.on_reset(reset, now)
            }
            None => self.lifecycle.on_left_as_is(now),
        };
        if let Some(Work::EndOfSession { done: Some(done), .. }) = work {
            // An error means that the holder has disconnected.
            let _ = done.send(());
        }
        refusal
    }

    /// Handles a reset of the card: between groups, after a unit, for a session that begins, or by a session.
    pub(super) fn on_reset(
        &mut self,
        kind: ResetKind,
        took: Duration,
        reset: Result<CardInfo, SlotError>,
        now: Instant,
    ) -> Option<Failure> {
        let is_reset = reset.is_ok();
        // A session continues, or ends, on the card that it had reset.
        if matches!(self.worker.work(), Some(Work::Session(_) | Work::EndOfSession { .. })) {
            if is_reset {
                self.schedule.on_reset(None, now);
            }
            return self.lifecycle.on_reset(reset, now);
        }
        if is_reset {
            self.on_card_reset(kind, took, now);
        }
        let refusal = self.lifecycle.on_reset(reset, now);
        if let Some(Work::Opening { number, waiting, .. }) = self.worker.take()
            && let Waiting { purpose: Purpose::Session(session), .. } = waiting
        {
            if is_reset {
                self.grant(number, session, true, now);
            } else {
                self.schedule.on_turn_ended(None, now);
                let failed = || Failure::not_sent(Reason::ResetFailed, "the reset before the session failed: retry");
                self.refuse_session(*session, self.lifecycle.refusal().unwrap_or_else(failed), now);
            }
        }
        refusal
    }

    /// Reports a reset by the broker to the rule of turns. The time counts as the cost of a reset between groups if the
    /// kind is the same.
    pub(super) fn on_card_reset(&mut self, kind: ResetKind, took: Duration, now: Instant) {
        self.schedule.on_reset((kind == self.isolation_reset).then_some(took), now);
    }
}
