//! The actor's part that concerns time: when something is due, and calls of the card stack that do not return.

use std::time::{Duration, Instant};

use cardbroker_core::error::{Delivery, Failure, Reason};
use tracing::warn;

use super::{Actor, Work};
use crate::reader::inbox::SessionOver;

/// The longest that taking, resetting or releasing a card may last before the reader counts as unresponsive.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a session's calls are looked at.
const SESSION_LOOK: Duration = Duration::from_secs(1);
/// A look at the clock when nothing else is due.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);

impl Actor {
    /// Answers the caller and the waiters of a call that does not return.
    pub(super) fn check_for_hang(&mut self, now: Instant) {
        let timeout = self.call_timeout();
        let is_late = self.watchdog.call_began().is_some_and(|began| began + timeout <= now);
        if !is_late || self.worker.hangs() || self.worker.is_idle() {
            return;
        }
        warn!(reader = %self.id, timeout_seconds = timeout.as_secs(), "the reader's driver does not return from a call");
        self.leases.end();
        let message = "the reader did not answer within the exchange timeout: look at the card before you go on";
        let failure = Failure::unknown(Reason::ReaderUnresponsive, message);
        let refusal = self.lifecycle.on_hang();
        match self.worker.on_late() {
            Some(Work::Unit { ticket, .. }) => ticket.end_early(failure, now),
            Some(Work::Session(_)) => self.end_session(failure),
            Some(Work::Opening { .. }) => self.refuse_opening(Failure { delivery: Delivery::NotSent, ..failure }),
            Some(Work::EndOfSession { over, done, .. }) => {
                // What the session has asked for before its end must be answered all the same.
                let failure = Failure { delivery: Delivery::NotSent, ..failure };
                over.send_replace(Some(SessionOver { failure, hangs: true }));
                // An error means that the holder has gone.
                done.take().map(|done| done.send(()));
            }
            Some(Work::Handling) | None => {}
        }
        self.refuse_waiters(refusal);
    }

    fn call_timeout(&self) -> Duration {
        match self.worker.work() {
            Some(Work::Unit { .. } | Work::Session(_) | Work::EndOfSession { .. }) => self.exchange_timeout,
            Some(Work::Handling | Work::Opening { .. }) | None => self.exchange_timeout.min(HANDLING_TIMEOUT),
        }
    }

    /// When something is due even if nothing happens.
    pub(super) fn wakeup(&self, now: Instant) -> Instant {
        let action = match self.worker.work() {
            None if self.phase.is_ending() => None,
            None => self.lifecycle.deadline(),
            Some(_) if self.worker.hangs() => None,
            // A session's calls begin without a word to the actor.
            Some(Work::Session(_)) => {
                Some(self.watchdog.call_began().map_or(now + SESSION_LOOK, |began| began + self.call_timeout()))
            }
            Some(_) => Some(self.watchdog.call_began().unwrap_or(now) + self.call_timeout()),
        };
        [action, self.session_deadline(now), self.positions.deadline(), self.queue.next_deadline()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE_WAKEUP)
    }
}
