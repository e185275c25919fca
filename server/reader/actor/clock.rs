//! The actor's part that concerns time: when something is due, and calls of the card stack that do not return.

use std::time::{Duration, Instant};

use cardbroker_core::error::{Delivery, Failure, Reason};
use tracing::warn;

use super::super::inbox::SessionOver;
use super::{Actor, Work};

/// The longest that taking, resetting or releasing a card may last before the reader counts as unresponsive.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a session's calls are looked at.
const SESSION_LOOK: Duration = Duration::from_secs(1);
/// A look at the clock when nothing else is due.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);

impl Actor {
    /// A call that does not return must not keep its caller, nor those who wait.
    pub(super) fn check_for_hang(&mut self, now: Instant) {
        let timeout = self.call_timeout();
        let is_late = self.watchdog.call_began().is_some_and(|began| began + timeout <= now);
        if self.hangs || !is_late || matches!(self.work, Work::None) {
            return;
        }
        self.hangs = true;
        warn!(reader = %self.id, timeout_seconds = timeout.as_secs(), "the reader's driver does not return from a call");
        self.leases.end();
        let message = "the reader did not answer within the exchange timeout: look at the card before you go on";
        let failure = Failure::unknown(Reason::ReaderUnresponsive, message);
        let refusal = self.lifecycle.on_hang();
        match &mut self.work {
            Work::Unit { ticket, .. } => ticket.end_early(failure, now),
            Work::Session(_) => self.end_session(failure),
            Work::Opening { .. } => self.refuse_opening(Failure { delivery: Delivery::NotSent, ..failure }),
            Work::EndOfSession { over, done, .. } => {
                // What the session has asked for before its end must be answered all the same.
                let failure = Failure { delivery: Delivery::NotSent, ..failure };
                over.send_replace(Some(SessionOver { failure, hangs: true }));
                // An error means that the holder has gone.
                done.take().map(|done| done.send(()));
            }
            Work::None | Work::Handling => {}
        }
        self.refuse_waiters(refusal);
    }

    fn call_timeout(&self) -> Duration {
        match self.work {
            Work::Unit { .. } | Work::Session(_) | Work::EndOfSession { .. } => self.exchange_timeout,
            Work::None | Work::Handling | Work::Opening { .. } => self.exchange_timeout.min(HANDLING_TIMEOUT),
        }
    }

    /// When something is due even if nothing happens.
    pub(super) fn wakeup(&self, now: Instant) -> Instant {
        let action = match &self.work {
            Work::None if self.stopping => None,
            Work::None => self.lifecycle.deadline(),
            _ if self.hangs => None,
            // A session's calls begin without a word to the actor.
            Work::Session(_) => {
                Some(self.watchdog.call_began().map_or(now + SESSION_LOOK, |began| began + self.call_timeout()))
            }
            _ => Some(self.watchdog.call_began().unwrap_or(now) + self.call_timeout()),
        };
        [action, self.session_deadline(now), self.positions.deadline(), self.queue.next_deadline()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE_WAKEUP)
    }
}
