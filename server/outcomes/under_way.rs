//! A running unit, as the requests that await it see it: how a repeat joins it, and how it ends.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::{Failure, Reason},
    outcomes::Outcome,
    turns::turn::TurnRequest,
};
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::reader::ticket::Ticket;

/// The maximum time of a cancelled unit until it is known whether it has begun.
const LAST_WORD: Duration = Duration::from_millis(10);

/// The end of a unit's task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// With the unit's outcome, which may be a failure.
    Ended(Arc<Outcome>),
    /// All requests that awaited the unit were dropped before it began, so no command was sent.
    Withdrawn,
}

/// A running unit. Clones are the same unit.
#[derive(Clone)]
pub(super) struct UnderWay {
    /// Set once, by the unit's task.
    ending: watch::Receiver<Option<Ending>>,
    submission: Arc<Mutex<SubmissionState>>,
    awaiters: Weak<DropGuard>,
}

/// Whether the first request has submitted the unit. That request holds the lock until the submission has succeeded or
/// failed, so a repeat in the meantime waits.
pub(super) enum SubmissionState {
    /// The unit is not submitted yet. A repeat sees this only if the first request has panicked.
    Pending,
    /// The unit is in the reader's queue, or running. The ticket is dropped when the unit has ended.
    Submitted(Weak<Ticket>),
    /// The reader or policy has refused it, and the store has forgotten it.
    Refused,
}

/// One request's wait for a unit.
pub(super) struct Awaited {
    unit: UnderWay,
    /// Shared by all requests that await the unit; `None` if it is being withdrawn already.
    awaiter: Option<Arc<DropGuard>>,
    /// Whether another request has started the unit.
    pub(super) is_repeat: bool,
}

/// The ends of a new unit that its task holds.
pub(super) struct TaskEnds {
    /// Reports the end of the unit to the requests.
    pub(super) ending: watch::Sender<Option<Ending>>,
    /// Cancelled when the last request that awaited the unit was dropped.
    pub(super) abandoned: CancellationToken,
}

impl UnderWay {
    /// Creates a unit before its submission, the wait of its first request, and the ends for its task.
    pub(super) fn new() -> (Self, Awaited, TaskEnds) {
        let (ending, ending_seen) = watch::channel(None);
        let abandoned = CancellationToken::new();
        let awaiter = Arc::new(abandoned.clone().drop_guard());
        let submission = Arc::new(Mutex::new(SubmissionState::Pending));
        let unit = Self { ending: ending_seen, submission, awaiters: Arc::downgrade(&awaiter) };
        let awaited = Awaited { unit: unit.clone(), awaiter: Some(awaiter), is_repeat: false };
        (unit, awaited, TaskEnds { ending, abandoned })
    }

    /// The state of the submission. A panic in another holder leaves it as it was: every change is one assignment.
    pub(super) fn submission(&self) -> MutexGuard<'_, SubmissionState> {
        self.submission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a repeat, whose conditions bind the unit while it waits. `None` if the unit was refused: then the repeat
    /// starts over.
    ///
    /// # Errors
    /// The conditions of `terms` contradict those that bind the unit.
    pub(super) fn join(self, terms: &TurnRequest) -> Result<Option<Awaited>, Failure> {
        match &*self.submission() {
            SubmissionState::Refused => return Ok(None),
            SubmissionState::Submitted(ticket) => ticket.upgrade().map_or(Ok(()), |ticket| ticket.join(terms))?,
            SubmissionState::Pending => {}
        }
        let awaiter = self.awaiters.upgrade();
        Ok(Some(Awaited { unit: self, awaiter, is_repeat: true }))
    }
}

impl Awaited {
    /// Waits for the end of the unit. At `give_up` it returns what is known by then: a failure if the unit continues or
    /// has not begun.
    pub(super) async fn ending(mut self, give_up: Option<Instant>) -> Ending {
        let Some(give_up) = give_up else { return next_ending(&mut self.unit.ending).await };
        tokio::select! {
            biased;
            ending = next_ending(&mut self.unit.ending) => return ending,
            () = sleep_until(give_up.into()) => {}
        }
        drop(self.awaiter);
        let failure = match timeout(LAST_WORD, next_ending(&mut self.unit.ending)).await {
            Ok(Ending::Ended(outcome)) => return Ending::Ended(outcome),
            Ok(Ending::Withdrawn) => {
                let late = "the turn did not come before the call's deadline: retry with a later one";
                Failure::not_sent(Reason::QueueTimeout, late)
            }
            Err(_) => {
                let late = "the call's deadline is near and the unit continues: repeat with the same request_id";
                Failure::unknown(Reason::DeadlineNear, late)
            }
        };
        Ending::Ended(Arc::new(Err(failure)))
    }
}

async fn next_ending(ending: &mut watch::Receiver<Option<Ending>>) -> Ending {
    let known = ending.wait_for(Option::is_some).await.ok().and_then(|ending| ending.clone());
    known.unwrap_or_else(|| {
        let failure =
            Failure::unknown(Reason::Internal, "the unit's task has ended: restart the broker and report the fault");
        Ending::Ended(Arc::new(Err(failure)))
    })
}
