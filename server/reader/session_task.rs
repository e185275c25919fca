//! A session's tasks on its holder's side. Each is answered once: by the card thread or, if the driver hangs, by the
//! holder that can wait no longer.

use std::{sync::Arc, time::Instant};

use cardbroker_core::{
    card::unit::UnitOutcome,
    error::{Failure, Reason},
    slot::CardInfo,
};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{
    jobs::Claim,
    ticket::{Answer, Ticket},
};

/// A unit in progress in a session.
pub struct SessionUnit {
    /// The unit, shared with the card thread.
    ticket: Arc<Ticket>,
    /// The receiver of its outcome.
    pub answer: Answer,
}

impl SessionUnit {
    pub(super) fn new(ticket: Arc<Ticket>, answer: Answer) -> Self {
        Self { ticket, answer }
    }

    /// Waits for the outcome, in the unit's span. Cancel-safe; must not be called again once it has returned.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn outcome(&mut self) -> Result<UnitOutcome, Failure> {
        let answer = (&mut self.answer).instrument(self.ticket.record().span().clone()).await;
        answer.unwrap_or_else(|_| {
            Err(Failure::unknown(
                Reason::Internal,
                "the reader's thread has ended: restart the broker and report the fault",
            ))
        })
    }

    /// Ends the unit from outside because the thread cannot: the outcome of a running command is unknown, and waiting
    /// commands are not sent. An existing outcome stays.
    pub fn abandon(&self, failure: &Failure, now: Instant) {
        if !self.ticket.end_waiting(Failure::not_sent(failure.reason, failure.message.clone())) {
            self.ticket.end(Some(Failure::unknown(failure.reason, failure.message.clone())), now);
        }
    }
}

/// A reset in progress in a session.
pub struct SessionReset {
    /// Taken by the card thread when it begins, or here when the holder gives up.
    claim: Claim,
    /// From the card thread: the card's facts after the reset.
    answer: oneshot::Receiver<Result<CardInfo, Failure>>,
    /// The outcome once the holder has given up. It takes precedence.
    abandoned: Option<Failure>,
}

impl SessionReset {
    pub(super) fn new(claim: Claim, answer: oneshot::Receiver<Result<CardInfo, Failure>>) -> Self {
        Self { claim, answer, abandoned: None }
    }

    /// Waits for the reset and returns the card's facts. Cancel-safe; must not be called again once it has returned.
    ///
    /// # Errors
    /// The failure, if the card was not reset or the result is unknown.
    pub async fn outcome(&mut self) -> Result<CardInfo, Failure> {
        if let Some(failure) = self.abandoned.take() {
            return Err(failure);
        }
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| {
            Err(Failure::unknown(
                Reason::Internal,
                "the reader's thread has ended: restart the broker and report the fault",
            ))
        })
    }

    /// Whether the answer has come.
    pub fn is_answered(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Ends the reset from outside, like [`SessionUnit::abandon`].
    pub fn abandon(&mut self, failure: &Failure) {
        if self.is_answered() {
            return;
        }
        self.abandoned = Some(if self.claim.take() {
            Failure::not_sent(failure.reason, failure.message.clone())
        } else {
            Failure::unknown(failure.reason, failure.message.clone())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardbroker_core::{error::Delivery, slot::Protocol};

    fn reset() -> (Claim, oneshot::Sender<Result<CardInfo, Failure>>, SessionReset) {
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        (claim.clone(), reply, SessionReset::new(claim, answer))
    }

    fn hangs() -> Failure {
        Failure::unknown(Reason::ReaderUnresponsive, "hangs")
    }

    #[tokio::test]
    async fn a_reset_behind_a_hanging_call_was_not_done() {
        let (claim, _reply, mut reset) = reset();
        reset.abandon(&hangs());
        assert!(!claim.take(), "it must not begin any more");
        assert_eq!(reset.outcome().await.unwrap_err().delivery, Delivery::NotSent);
    }

    #[tokio::test]
    async fn a_reset_that_hangs_is_unknown() {
        let (claim, _reply, mut reset) = reset();
        assert!(claim.take());
        reset.abandon(&hangs());
        assert_eq!(reset.outcome().await.unwrap_err().delivery, Delivery::Unknown);
    }

    #[tokio::test]
    async fn an_answered_reset_cannot_be_abandoned() {
        let (claim, reply, mut reset) = reset();
        assert!(claim.take());
        reply.send(Ok(CardInfo { atr: vec![0x3B], protocol: Protocol::T1 })).unwrap();
        reset.abandon(&hangs());
        assert_eq!(reset.outcome().await.unwrap().atr, [0x3B]);
    }
}
