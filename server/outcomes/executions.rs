//! Units that run at most once: each has a task of its own, so that its outcome is recorded even if every request that
//! awaited it has been dropped.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::unit::UnitRequest,
    error::{Delivery, Failure, Reason},
    keyed_hash::HashKey,
    outcomes::{Begin, Fingerprint, Outcome, OutcomeLimits, Outcomes, RequestKey},
    turns::turn::TurnRequest,
};
use tokio::time::{sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    fingerprint::fingerprint,
    under_way::{Awaited, Ending, SubmissionState, TaskEnds, UnderWay},
};
use crate::{process::random::hash_key, reader::Submission};

/// Maximum starts of a request that has joined a unit during its withdrawal.
const MAX_STARTS: usize = 3;

/// Runs units under the ids of their requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executions {
    /// Locked for single calls of the store only, never during a call of policy or a reader.
    outcomes: Arc<Mutex<Outcomes<UnderWay>>>,
    /// The key of all fingerprints.
    key: HashKey,
    /// How long an outcome is kept.
    lifetime: Duration,
    /// The tasks of units, and the one that expires outcomes.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// The outcome of a request's unit.
pub(crate) struct JoinedOutcome {
    /// Shared by the store and all repeats.
    pub(crate) outcome: Arc<Outcome>,
    /// Whether another request has started the unit.
    pub(crate) replayed: bool,
}

/// The continuation of a request after the store's decision.
enum Begun {
    /// The unit of an equal request has ended with this outcome.
    Replay(Arc<Outcome>),
    /// The request's unit is running: its own, or that of an equal request.
    Await(Awaited),
    /// The unit of an equal request was refused just now, so this request starts over.
    Refused,
}

impl Executions {
    /// Keeps outcomes within `limits` until `shutdown`. Must be called inside a runtime.
    ///
    /// # Errors
    /// The system cannot provide random bytes.
    pub(crate) fn new(limits: OutcomeLimits, shutdown: CancellationToken) -> io::Result<Self> {
        let executions = Self {
            outcomes: Arc::new(Mutex::new(Outcomes::new(limits))),
            key: hash_key()?,
            lifetime: limits.lifetime,
            tasks: TaskTracker::new(),
            shutdown,
        };
        executions.tasks.spawn(executions.clone().expire_outcomes());
        Ok(executions)
    }

    /// Waits until the last unit has ended, after the shutdown.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The fingerprint of a unit for `reader`. Only fingerprints of the same broker can be compared.
    pub(crate) fn fingerprint(&self, reader: &str, request: &UnitRequest) -> Fingerprint {
        fingerprint(&self.key, reader, request)
    }

    /// Runs the unit, joins an identical one in progress, or returns its stored outcome. At `give_up` it returns what
    /// is known by then. The conditions of `terms` also bind a joined unit while it waits.
    ///
    /// # Errors
    /// The id was used with other commands, there is no room for another outcome, or `submit` has failed.
    pub(crate) async fn run(
        &self,
        key: RequestKey,
        fingerprint: &Fingerprint,
        terms: &TurnRequest,
        give_up: Option<Instant>,
        submit: impl Fn() -> Result<Submission, Failure>,
    ) -> Result<JoinedOutcome, Failure> {
        let mut starts = 0;
        while starts < MAX_STARTS {
            let awaited = match self.begin(&key, fingerprint, terms, &submit)? {
                Begun::Replay(outcome) => {
                    return Ok(JoinedOutcome { outcome, replayed: true });
                }
                Begun::Await(awaited) => awaited,
                // Not counted: the refused request has its answer, so this happens once for each such request.
                Begun::Refused => continue,
            };
            let replayed = awaited.is_repeat;
            match awaited.ending(give_up).await {
                Ending::Ended(outcome) => return Ok(JoinedOutcome { outcome, replayed }),
                Ending::Withdrawn => starts += 1,
            }
        }
        Err(withdrawn())
    }

    /// Queries the store. The first request of its id submits its unit after the store is unlocked. Repeats in the
    /// meantime find the unit in the store, so there is no second one, and wait at its own lock.
    fn begin(
        &self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        terms: &TurnRequest,
        submit: impl Fn() -> Result<Submission, Failure>,
    ) -> Result<Begun, Failure> {
        let (unit, awaited, task_ends) = UnderWay::new();
        // Before the store has the unit, so that no repeat finds it unlocked.
        let mut submission_state = unit.submission();
        let begin = self.lock().begin(key, fingerprint, Instant::now(), || unit.clone())?;
        match begin {
            Begin::Replay(outcome) => Ok(Begun::Replay(outcome)),
            Begin::Join(other) => Ok(other.join(terms)?.map_or(Begun::Refused, Begun::Await)),
            Begin::Run => match submit() {
                Ok(submission) => {
                    *submission_state = SubmissionState::Submitted(submission.ticket());
                    self.tasks.spawn(self.clone().execute(key.clone(), submission, task_ends));
                    Ok(Begun::Await(awaited))
                }
                Err(failure) => {
                    // The store first: a repeat that is refused must not find this unit again.
                    self.lock().withdraw(key);
                    *submission_state = SubmissionState::Refused;
                    Err(failure)
                }
            },
        }
    }

    /// The task of one unit: waits for its outcome and records it. A unit that no request awaits is withdrawn if it has
    /// not begun.
    async fn execute(self, key: RequestKey, mut submission: Submission, ends: TaskEnds) {
        let outcome = tokio::select! {
            biased;
            outcome = submission.outcome() => outcome,
            () = ends.abandoned.cancelled() => {
                if submission.withdraw(withdrawn()) {
                    self.lock().withdraw(&key);
                    ends.ending.send_replace(Some(Ending::Withdrawn));
                    return;
                }
                submission.outcome().await
            }
        };
        let is_unknown = match &outcome {
            Ok(outcome) => outcome.stopped.as_ref().is_some_and(|stop| stop.failure.delivery == Delivery::Unknown),
            Err(failure) => failure.delivery == Delivery::Unknown,
        };
        let outcome = Arc::new(outcome);
        self.lock().finish(&key, Arc::clone(&outcome), Instant::now());
        ends.ending.send_replace(Some(Ending::Ended(outcome)));
        if is_unknown {
            self.await_late_outcome(key, submission).await;
        }
    }

    /// Replaces an unknown outcome if the driver's call returns within the outcome's lifetime.
    async fn await_late_outcome(self, key: RequestKey, mut submission: Submission) {
        tokio::select! {
            late = timeout(self.lifetime, submission.late_outcome()) => {
                if let Ok(Some(known)) = late {
                    self.lock().finish(&key, Arc::new(known), Instant::now());
                }
            }
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Wipes outcomes at the end of their lifetime, also without further requests. Ends at the shutdown.
    async fn expire_outcomes(self) {
        loop {
            let next = self.lock().next_expiry().unwrap_or_else(|| Instant::now() + self.lifetime);
            tokio::select! {
                () = sleep_until(next.into()) => self.lock().expire(Instant::now()),
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// Locks the store. It changes by single calls, so a panic in another holder leaves it consistent.
    fn lock(&self) -> MutexGuard<'_, Outcomes<UnderWay>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of a request that has joined a unit during its withdrawal, [`MAX_STARTS`] times.
fn withdrawn() -> Failure {
    Failure::not_sent(Reason::LeaseEnded, "all other requests for this unit were cancelled: retry")
}

#[cfg(test)]
mod tests;
