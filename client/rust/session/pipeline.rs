//! The unanswered messages of a session, and the one that restarts it after a failure: no I/O.
//!
//! A failure is noticed late: the broker answers messages that were sent before with PRECEDING_FAILED. Only a message
//! of a caller that knew of every failure may say `restart`: the others were decided on before.

use std::collections::VecDeque;

/// The messages without an answer, each with its waiter.
#[derive(Debug)]
pub(super) struct Pipeline<T> {
    last_id: i64,
    unanswered: VecDeque<Message<T>>,
    /// The number of failures so far.
    failure_count: u64,
    /// The number of failures that the latest message has restarted from.
    restarted_count: u64,
}

#[derive(Debug)]
struct Message<T> {
    id: i64,
    restarted_count: u64,
    waiter: T,
}

/// The outcome of a message, as far as the pipeline is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// Failed only because a message before it had failed.
    PrecedingFailed,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self { last_id: 0, unanswered: VecDeque::new(), failure_count: 0, restarted_count: 0 }
    }
}

impl<T> Pipeline<T> {
    pub(super) fn len(&self) -> usize {
        self.unanswered.len()
    }

    /// Adds a message of a caller that knew of so many failures, and may have decided about `restart`. Returns its id,
    /// and whether it says `restart`.
    pub(super) fn send(&mut self, known_failure_count: u64, decided: Option<bool>, waiter: T) -> (i64, bool) {
        self.last_id += 1;
        let due = self.restarted_count < self.failure_count && known_failure_count == self.failure_count;
        let restart = decided.unwrap_or(due);
        if restart {
            self.restarted_count = self.failure_count;
        }
        self.unanswered.push_back(Message { id: self.last_id, restarted_count: self.restarted_count, waiter });
        (self.last_id, restart)
    }

    /// Takes out the message that an answer belongs to, with the count of failures that the answer makes known. `None`
    /// if the answer is out of order.
    pub(super) fn answer(&mut self, id: i64, outcome: Outcome) -> Option<(T, u64)> {
        self.unanswered.front().filter(|message| message.id == id)?;
        let message = self.unanswered.pop_front()?;
        let unexplained = message.restarted_count == self.failure_count;
        if outcome == Outcome::Failed || (outcome == Outcome::PrecedingFailed && unexplained) {
            self.failure_count += 1;
        }
        Some((message.waiter, self.failure_count))
    }

    /// Takes out all messages, because no more answers will come.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.unanswered.drain(..).map(|message| message.waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pipeline: &mut Pipeline<()>, id: i64, outcome: Outcome) -> u64 {
        pipeline.answer(id, outcome).expect("it was this one's turn").1
    }

    #[test]
    fn without_failures_nothing_restarts_and_answers_come_in_order() {
        let mut pipeline = Pipeline::default();
        assert_eq!([pipeline.send(0, None, ()), pipeline.send(0, None, ())], [(1, false), (2, false)]);
        assert_eq!(answer(&mut pipeline, 1, Outcome::Done), 0);
        assert_eq!(pipeline.answer(3, Outcome::Done), None);
    }

    #[test]
    fn only_the_first_message_that_knows_of_the_failure_restarts() {
        let mut pipeline = Pipeline::default();
        pipeline.send(0, None, ());
        pipeline.send(0, None, ());
        let known = answer(&mut pipeline, 1, Outcome::Failed);
        assert_eq!(pipeline.send(0, None, ()), (3, false), "decided on before the failure was known");
        assert_eq!(pipeline.send(known, None, ()), (4, true));
        assert_eq!(pipeline.send(known, None, ()), (5, false));
        for id in [2, 3] {
            assert_eq!(answer(&mut pipeline, id, Outcome::PrecedingFailed), known, "no failure of its own");
        }
        assert_eq!(pipeline.send(known, None, ()), (6, false));
    }

    #[test]
    fn an_explicit_decision_about_the_restart_takes_precedence() {
        let mut pipeline = Pipeline::default();
        assert_eq!(pipeline.send(0, Some(true), ()), (1, true), "also where nothing has failed");
        let known = answer(&mut pipeline, 1, Outcome::Failed);
        assert_eq!(pipeline.send(known, Some(false), ()), (2, false));
        assert_eq!(pipeline.send(known, None, ()), (3, true));
    }

    #[test]
    fn a_failure_after_the_restart_needs_another() {
        let mut pipeline = Pipeline::default();
        pipeline.send(0, None, ());
        let first = answer(&mut pipeline, 1, Outcome::Failed);
        pipeline.send(first, None, ());
        let second = answer(&mut pipeline, 2, Outcome::Failed);
        assert_eq!(pipeline.send(first, None, ()), (3, false));
        assert_eq!(pipeline.send(second, None, ()), (4, true));
    }

    #[test]
    fn every_failed_message_counts_as_a_failure() {
        let mut pipeline = Pipeline::default();
        pipeline.send(0, None, ());
        pipeline.send(0, None, ());
        answer(&mut pipeline, 1, Outcome::Done);
        let known = answer(&mut pipeline, 2, Outcome::PrecedingFailed);
        assert_eq!(pipeline.send(known, None, ()), (3, true));
    }
}
