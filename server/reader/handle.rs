//! The handle of a reader: how the rest of the broker asks it for turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use super::{
    queue::{self, Limits},
    ticket::{Answer, Ticket, UnitOutcome, UnitRequest},
};
use crate::{
    caller::CallerKey,
    error::{Failure, Reason},
    group::GroupMark,
};

/// What callers tell the actor.
pub(super) enum Message {
    /// A unit wants its turn.
    Submit { number: queue::Ticket, caller: CallerKey, waiting: Waiting },
    /// A ticket's caller no longer waits.
    Withdraw(queue::Ticket),
}

/// What waits for its turn.
pub(super) struct Waiting {
    /// The unit.
    pub(super) ticket: Arc<Ticket>,
    /// On whose behalf.
    pub(super) group: GroupMark,
}

/// Asks one reader for turns. Cheap to clone; the reader outlives its handles.
#[derive(Clone)]
pub struct ReaderHandle {
    inbox: mpsc::Sender<Message>,
    last_number: Arc<AtomicU64>,
}

/// The receiving end of a [`ReaderHandle`], for the reader's actor.
pub struct Requests(pub(super) mpsc::Receiver<Message>);

impl ReaderHandle {
    /// A handle, and where its requests arrive.
    pub fn new(limits: Limits) -> (Self, Requests) {
        // Two places for each request that may wait, one of them for its withdrawal, and some for those that are refused at once.
        let (inbox, requests) = mpsc::channel(2 * limits.per_reader + 64);
        (Self { inbox, last_number: Arc::default() }, Requests(requests))
    }

    /// Asks for a turn. Dropping the submission gives it up, if the unit has not begun.
    ///
    /// # Errors
    /// [`Reason::QueueFull`] if the reader has no room for another request, [`Reason::ShuttingDown`] if it is stopping.
    pub fn submit(
        &self,
        caller: CallerKey,
        group: GroupMark,
        request: UnitRequest,
        now: Instant,
    ) -> Result<Submission, Failure> {
        // The place for the withdrawal is taken now, so that giving up later can neither block nor fail.
        let submit = self.inbox.clone().try_reserve_owned().map_err(refused)?;
        let withdraw = self.inbox.clone().try_reserve_owned().map_err(refused)?;
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let (ticket, answer) = Ticket::new(request, now);
        let ticket = Arc::new(ticket);
        let waiting = Waiting { ticket: Arc::clone(&ticket), group };
        submit.send(Message::Submit { number, caller, waiting });
        Ok(Submission { ticket, answer, withdrawal: Some((withdraw, number)) })
    }
}

fn refused(error: mpsc::error::TrySendError<mpsc::Sender<Message>>) -> Failure {
    match error {
        mpsc::error::TrySendError::Full(_) => {
            Failure::not_sent(Reason::QueueFull, "too many requests wait for this reader: retry later")
        }
        mpsc::error::TrySendError::Closed(_) => shutting_down(),
    }
}

pub(super) fn shutting_down() -> Failure {
    Failure::not_sent(Reason::ShuttingDown, "the broker is stopping: retry when it runs again")
}

/// A ticket in its caller's hand.
pub struct Submission {
    ticket: Arc<Ticket>,
    answer: Answer,
    withdrawal: Option<(mpsc::OwnedPermit<Message>, queue::Ticket)>,
}

impl Submission {
    /// Waits for the outcome, which comes by itself within the request's `wait_timeout` and the exchange timeouts of its commands.
    ///
    /// Cancel-safe: what is not awaited to its end can be awaited again.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn outcome(&mut self) -> Result<UnitOutcome, Failure> {
        let outcome = (&mut self.answer).await;
        self.withdrawal = None;
        outcome.unwrap_or_else(|_| Err(Failure::unknown(Reason::Internal, "the reader's task has ended: report this")))
    }

    /// Stops waiting because the caller can wait no longer: what has not begun is not sent, what has begun goes on without the
    /// caller. [`Submission::outcome`] then has the answer at once.
    pub fn give_up(&self, now: Instant) {
        let late = "the turn did not come before the call's deadline: retry with a later one";
        if !self.ticket.end_waiting(Failure::not_sent(Reason::QueueTimeout, late)) {
            let late =
                "the call's deadline is near and the unit has begun: it goes on without the caller, look at the card";
            self.ticket.end(Some(Failure::unknown(Reason::DeadlineNear, late)), now);
        }
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some((permit, number)) = self.withdrawal.take() {
            permit.send(Message::Withdraw(number));
        }
    }
}
