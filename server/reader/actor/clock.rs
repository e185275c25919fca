//! The part of the actor for time: the next due moment, and calls of the card stack that do not return.

use std::time::{Duration, Instant};

use cardbroker_core::{
    error::{Failure, Reason},
    journal::IncidentKind,
};
use tracing::warn;

use super::{Actor, Work};
use crate::reader::inbox::SessionOver;

/// The maximum time to take, reset or release a card before the reader counts as unresponsive.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(15);
/// The interval of checks of a session's calls.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// The interval of wakeups when nothing is due.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);

impl Actor {
    /// Answers the caller and the waiters when a call does not return.
    pub(super) fn check_for_hang(&mut self, now: Instant) {
        let timeout = self.call_timeout();
        let is_late = self.watchdog.call_began().is_some_and(|began| began + timeout <= now);
        if !is_late || self.worker.hangs() || self.worker.is_idle() {
            return;
        }
        warn!(reader = %self.id, timeout_seconds = timeout.as_secs(), "a call into the driver does not return");
        let words = format!("a call into the driver has not returned for {} s", timeout.as_secs());
        self.journal.incident(IncidentKind::Driver, &words, now);
        self.leases.end();
        let message =
            "the reader did not answer within the exchange timeout: check the card's state before you continue";
        let failure = Failure::unknown(Reason::ReaderUnresponsive, message);
        let refusal = self.lifecycle.on_hang();
        match self.worker.on_late() {
            Some(Work::Unit { ticket, .. }) => ticket.end_early(failure, now),
            Some(Work::Session(_)) => self.end_session(failure),
            Some(Work::Opening { .. }) => self.refuse_opening(failure.into_not_sent(), now),
            Some(Work::EndOfSession { over, done, .. }) => {
                // Tasks that the session requested before its end still need an answer.
                let failure = failure.into_not_sent();
                over.send_replace(Some(SessionOver { failure, hangs: true }));
                // An error means that the holder has disconnected.
                done.take().map(|done| done.send(()));
            }
            Some(Work::Handling) | None => {}
        }
        self.refuse_waiters(refusal, now);
    }

    fn call_timeout(&self) -> Duration {
        match self.worker.work() {
            Some(Work::Unit { .. } | Work::Session(_) | Work::EndOfSession { .. }) => self.exchange_timeout,
            Some(Work::Handling | Work::Opening { .. }) | None => self.exchange_timeout.min(HANDLING_TIMEOUT),
        }
    }

    /// Returns when something is due without an event.
    pub(super) fn wakeup(&self, now: Instant) -> Instant {
        let action = match self.worker.work() {
            None if self.phase.is_ending() => None,
            None => self.lifecycle.deadline(),
            Some(_) if self.worker.hangs() => None,
            // A session's calls begin without a message to the actor.
            Some(Work::Session(_)) => {
                Some(self.watchdog.call_began().map_or(now + SESSION_CHECK, |began| began + self.call_timeout()))
            }
            Some(_) => Some(self.watchdog.call_began().unwrap_or(now) + self.call_timeout()),
        };
        let waiters = [self.next_check, self.positions.deadline(), self.schedule.next_deadline()];
        [action, self.session_deadline(now), self.journal.expiry()]
            .into_iter()
            .chain(waiters)
            .flatten()
            .min()
            .unwrap_or(now + IDLE_WAKEUP)
    }
}
