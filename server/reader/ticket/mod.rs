//! A ticket: one caller's unit from its request to its outcome. Caller, actor and card thread share it, and the first
//! to end it decides the outcome; the results so far are kept here, so that none is lost when a call hangs or a
//! deadline comes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::unit::{CommandResult, Stop, UnitCommand, UnitOutcome},
    error::Failure,
    journal::TurnEnd,
    turns::turn::{CardNow, Turn, TurnRequest},
};
use tokio::sync::oneshot;

use crate::{policy::access::Access, reader::spans::UnitSpan};

/// A unit, shared by its caller, the actor and the card thread.
pub struct Ticket {
    /// The commands of the unit. Never changes.
    pub commands: Vec<UnitCommand>,
    /// The caller and its permissions.
    pub access: Access,
    /// The arrival of the request.
    pub arrived: Instant,
    /// The request's terms of waiting, with the conditions of the repeats that joined it. `None` once its turn has
    /// come, and for a unit of a session, which waits for no turn.
    terms: Mutex<Option<TurnRequest>>,
    stage: Mutex<Stage>,
    /// The unit's line in the log, written when the ticket ends.
    record: UnitSpan,
}

enum Stage {
    Waiting {
        reply: Reply,
        late: Reply,
    },
    /// `reply` is for the first outcome, and `late` for an outcome after an unknown one. Both are the caller's.
    Running {
        reply: Option<Reply>,
        late: Reply,
        turn: Turn,
        results: Vec<CommandResult>,
        partial: bool,
    },
    Ended,
}

type Reply = oneshot::Sender<Result<UnitOutcome, Failure>>;

/// The receiver of a unit's outcome.
pub type Answer = oneshot::Receiver<Result<UnitOutcome, Failure>>;

/// The receivers of the first outcome, and of a later one if the first was unknown.
pub struct Answers {
    /// The first outcome, which may be unknown.
    pub first: Answer,
    /// The outcome that became known later.
    pub late: Answer,
}

impl Ticket {
    /// Creates a ticket that waits on `terms`, and the receivers of its outcome. A unit of a session has no terms.
    pub fn new(
        commands: Vec<UnitCommand>,
        terms: Option<TurnRequest>,
        access: Access,
        arrived: Instant,
    ) -> (Self, Answers) {
        let (reply, first) = oneshot::channel();
        let (late_reply, late) = oneshot::channel();
        let stage = Mutex::new(Stage::Waiting { reply, late: late_reply });
        let terms = Mutex::new(terms);
        let record = UnitSpan::new(&access, commands.len());
        (Self { commands, access, arrived, terms, stage, record }, Answers { first, late })
    }

    /// The unit's record for the log.
    pub(super) fn record(&self) -> &UnitSpan {
        &self.record
    }

    /// A repeat of the request joins this one on its own `terms`: while the ticket waits, their conditions bind it too.
    /// Once its turn has come, no condition is added.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`](cardbroker_core::error::Reason::RequestIdReused) if the conditions contradict
    /// existing ones.
    pub fn join(&self, terms: &TurnRequest) -> Result<(), Failure> {
        self.terms().as_mut().map_or(Ok(()), |own| own.add_conditions(terms))
    }

    /// Its turn has come: returns the failure if a condition does not match the card. From now on no condition is
    /// added.
    pub fn broken_condition(&self, card: CardNow<'_>) -> Option<Failure> {
        self.terms().take()?.broken_condition(card)
    }

    /// Its turn has come. Returns `false` if it has ended: then the turn goes to the next request.
    pub fn begin(&self, turn: Turn) -> bool {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Ended) {
            Stage::Waiting { reply, late } if !reply.is_closed() => {
                *stage = Stage::Running { reply: Some(reply), late, turn, results: Vec::new(), partial: false };
                true
            }
            Stage::Waiting { .. } => {
                self.end_record(None, TurnEnd::Abandoned);
                false
            }
            // No unit begins twice.
            Stage::Running { .. } | Stage::Ended => false,
        }
    }

    /// Stores the response of the next command.
    pub fn push(&self, result: CommandResult) {
        if let Stage::Running { results, .. } = &mut *self.stage() {
            results.push(result);
        }
    }

    /// Stores the partial response of the command at which the unit ends.
    pub fn push_partial(&self, result: CommandResult) {
        if let Stage::Running { results, partial, .. } = &mut *self.stage() {
            results.push(result);
            *partial = true;
        }
    }

    /// Ends the ticket while it waits: the caller has disconnected, or `failure` prevents its turn. Returns `false` if
    /// it no longer waits.
    pub fn end_waiting(&self, failure: Failure) -> bool {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Ended) {
            Stage::Waiting { reply, .. } => {
                let outcome = TurnEnd::Failed(failure.reason);
                // The caller may have disconnected; then nobody needs the answer.
                let _ = reply.send(Err(failure));
                self.end_record(None, outcome);
                true
            }
            other => {
                *stage = other;
                false
            }
        }
    }

    /// Answers the caller of a running unit for the last time, with the cause `stop`. The unit continues, and its
    /// responses are kept.
    pub fn end_early(&self, stop: Failure, now: Instant) {
        let mut stage = self.stage();
        if let Stage::Running { reply, turn, results, partial, .. } = &mut *stage
            && let Some(reply) = reply.take()
        {
            let outcome = self.outcome(turn.clone(), results.clone(), *partial, Some(stop), now);
            // The caller may have disconnected; then nobody needs the answer.
            let _ = reply.send(outcome);
        }
    }

    /// Ends the unit: all answered (`None`) or stopped. The outcome is an error if no command was answered, otherwise
    /// the responses so far. Returns whether it is an error. Has no effect once the ticket has ended.
    pub fn end(&self, stop: Option<Failure>, now: Instant) -> bool {
        let stage = std::mem::replace(&mut *self.stage(), Stage::Ended);
        let (reply, outcome, answer, times) = match stage {
            Stage::Ended => return true,
            Stage::Waiting { reply, .. } => {
                let failure = stop.unwrap_or_else(never_began);
                (reply, TurnEnd::Failed(failure.reason), Err(failure), None)
            }
            Stage::Running { reply, late, turn, results, partial } => {
                let waited = turn.began.saturating_duration_since(self.arrived);
                let times = (waited, now.saturating_duration_since(turn.began));
                let outcome = TurnEnd::of(stop.as_ref());
                let answer = self.outcome(turn, results, partial, stop, now);
                (reply.unwrap_or(late), outcome, answer, Some(times))
            }
        };
        let is_error = answer.is_err();
        // The caller may have disconnected; then nobody needs the answer.
        let _ = reply.send(answer);
        self.end_record(times, outcome);
        is_error
    }

    /// Writes the unit's line into the log. `times` are the waiting time and the time on the card, if it had its turn.
    fn end_record(&self, times: Option<(Duration, Duration)>, outcome: TurnEnd) {
        self.record.end(&self.access, self.commands.len(), self.arrived, times, outcome);
    }

    fn outcome(
        &self,
        turn: Turn,
        results: Vec<CommandResult>,
        partial: bool,
        stop: Option<Failure>,
        now: Instant,
    ) -> Result<UnitOutcome, Failure> {
        match stop {
            Some(failure) if results.is_empty() => Err(failure),
            stop => Ok(UnitOutcome {
                stopped: stop.map(|failure| match results.len() {
                    // The command has run, although the rest of its response was not fetched.
                    count if partial => Stop { index: count - 1, failure: failure.into_executed() },
                    count => Stop { index: count, failure },
                }),
                results,
                insertion_id: turn.insertion_id,
                state_tag: turn.state_tag,
                queue_duration: turn.began.saturating_duration_since(self.arrived),
                card_duration: now.saturating_duration_since(turn.began),
                reset_before_unit: turn.reset,
            }),
        }
    }

    /// Recovers from a poisoned lock, like [`Ticket::stage`].
    fn terms(&self) -> MutexGuard<'_, Option<TurnRequest>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic in another holder does not make the stage unusable: every change to it is a single assignment.
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    /// A caller that disconnects while its unit waits takes the ticket out of the queue without ending it.
    fn drop(&mut self) {
        if !matches!(*self.stage(), Stage::Ended) {
            self.end_record(None, TurnEnd::Abandoned);
        }
    }
}

fn never_began() -> Failure {
    Failure::not_sent(
        cardbroker_core::error::Reason::Internal,
        "the unit ended before it began: restart the broker and report the fault",
    )
}

#[cfg(test)]
mod tests;
