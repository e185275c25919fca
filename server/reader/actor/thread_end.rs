//! The actor's part that concerns failures of the way to its card thread: a job that the thread does not get, and the
//! end of the thread by itself, after a panic.

use std::{sync::mpsc::TrySendError, time::Instant};

use cardbroker_core::{
    error::{Failure, Reason},
    journal::TurnEnd,
};
use tracing::error;

use super::{Actor, Work, machine::ReaderPhase};
use crate::reader::{
    inbox::{SessionOver, reader_ended, shutting_down},
    jobs::Job,
};

impl Actor {
    /// Hands a job over. There is room: the actor has one job at a time under way, and a session's tasks are limited.
    /// The thread ends only after this actor, unless it has panicked.
    pub(super) fn send(&mut self, job: Job) {
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => self.on_undelivered(job, Instant::now()),
            Err(TrySendError::Disconnected(job)) => {
                let now = Instant::now();
                job.refuse(reader_ended(), now);
                self.on_thread_ended(now);
            }
        }
    }

    /// The card thread has no room for a job, by a defect: the work fails, and the reader goes on.
    fn on_undelivered(&mut self, job: Job, now: Instant) {
        error!(reader = %self.id, "the reader's card thread has no room for a job");
        let failure = Failure::not_sent(
            Reason::Internal,
            "the reader's thread has no room for the work: restart the broker and report the fault",
        );
        self.refuse_opening(failure.clone(), now);
        if let Some(report) = job.refuse(failure, now) {
            self.on_report(report, now);
        }
    }

    /// The card thread has ended by itself, and the slot with it: answers the work under way, whose delivery is not
    /// known, and the waiters. The reader stays unavailable while the broker runs.
    pub(super) fn on_thread_ended(&mut self, now: Instant) {
        if self.phase.is_over() {
            return;
        }
        error!(reader = %self.id, "the reader's card thread has ended: the reader is not served any more");
        let is_plugged = self.phase == ReaderPhase::Plugged;
        self.phase.on_thread_ended();
        self.leases.end();
        let failure = Failure::unknown(Reason::Internal, reader_ended().message);
        // As a call that does not return, so that a session's holder answers the tasks that the thread never will.
        self.worker.on_late();
        match self.worker.work_mut() {
            // Without effect on a unit that the thread has ended before.
            Some(Work::Unit { ticket, .. }) => drop(ticket.end(Some(failure), now)),
            Some(Work::Session(_)) => self.end_session(failure),
            Some(Work::Opening { .. }) => self.refuse_opening(failure.into_not_sent(), now),
            Some(Work::EndOfSession { over, done, .. }) => {
                over.send_replace(Some(SessionOver { failure: failure.into_not_sent(), hangs: true }));
                // An error means that the holder has gone.
                done.take().map(|done| done.send(()));
            }
            Some(Work::Handling) | None => {}
        }
        self.released_by = None;
        match self.worker.take() {
            Some(Work::Unit { ticket, lease, since, .. }) => {
                let end = TurnEnd::Failed(Reason::Internal);
                self.record_turn_ended(ticket.access.origin(), lease, since, end, now);
            }
            Some(Work::EndOfSession { turn, .. }) => self.record_session_ended(&turn, now),
            _ => {}
        }
        self.end_all(&self.ended(), now);
        if is_plugged {
            self.lifecycle.on_unavailable(reader_ended().message.into_owned(), now);
            self.publisher.publish(Some(self.lifecycle.status()));
        }
    }

    /// The failure of requests that come when no turn is given any more.
    pub(super) fn ended(&self) -> Failure {
        if self.phase == ReaderPhase::Failed { reader_ended() } else { shutting_down() }
    }
}
