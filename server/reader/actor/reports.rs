//! The part of the actor for reports of its card thread, events of the monitor, and the stop.

use std::time::Instant;

use cardbroker_core::{
    error::{Failure, Reason},
    journal::{IncidentKind, TurnEnd},
    slot::SlotStatus,
};
use tracing::debug;

use super::{Actor, Work, machine::ReaderPhase};
use crate::reader::{
    inbox::shutting_down,
    jobs::{Job, Report},
};

/// An event of the registry for the reader's actor.
#[derive(Debug)]
pub enum Event {
    /// The monitor has polled the slot.
    Seen(SlotStatus),
    /// PC/SC is down; the text gives the cause.
    Unavailable(String),
    /// The reader was unplugged. [`Event::Seen`] follows when it is back.
    Unplugged,
    /// The reader comes back under another id, because a reader that was plugged in has its alias now.
    Renamed(String),
}

impl Actor {
    /// The card thread has done a job, or has detected something in a session's task.
    pub(super) fn on_report(&mut self, report: Report, now: Instant) {
        debug!(reader = %self.id, ?report, "the card thread has reported");
        if self.worker.hangs() {
            self.journal.incident(IncidentKind::Driver, "the call into the driver has returned", now);
        }
        self.worker.on_returned();
        let refusal = match report {
            Report::Taken(taken) => {
                if let Err(error) = &taken {
                    debug!(reader = %self.id, %error, "the card could not be taken");
                }
                self.worker.take();
                self.schedule.on_card_changed();
                self.lifecycle.on_taken(taken, now)
            }
            Report::UnitEnded { end, stop, reset_took, left } => {
                self.leases.end();
                let refusal = self.lifecycle.on_unit_ended(end, now);
                if let Some(Work::Unit { ticket, disposition, lease, since }) = self.worker.take() {
                    let end = stop.map_or(TurnEnd::Ok, TurnEnd::Failed);
                    self.record_turn_ended(ticket.access.origin(), lease, since, end, now);
                    if let Some((kind, took)) = reset_took {
                        self.on_card_reset(kind, took, since + took);
                    }
                    self.schedule.on_turn_ended(Some(left), now);
                    let is_released = self.released_by.take().is_some();
                    if is_released {
                        self.schedule.on_released();
                    }
                    // What a released unit leaves is nobody's, not even its own group's.
                    self.dispose(if is_released && left.raised { disposition.abruptly() } else { disposition });
                }
                refusal
            }
            Report::Reset { kind, took, reset } => self.on_reset(kind, took, reset, now),
            Report::ForeignReset(card) => {
                self.schedule.on_reset(None, now);
                self.lifecycle.on_foreign_reset(card, now)
            }
            Report::SessionFault { end, failure } => {
                let refusal = self.lifecycle.on_unit_ended(end, now);
                self.end_session(failure);
                refusal
            }
            Report::SessionEnded { reset, raised } => self.on_session_end(reset, raised, now),
            Report::Released => {
                self.worker.take();
                self.phase.on_released();
                self.schedule.on_card_changed();
                self.lifecycle.on_released();
                None
            }
        };
        self.refuse_waiters(refusal, now);
        self.release_at_the_end();
    }

    /// The registry has an event of the reader.
    pub(super) fn on_event(&mut self, event: Event, now: Instant) {
        let refusal = match event {
            Event::Seen(status) => {
                self.phase.on_seen();
                self.lifecycle.on_status(status, now)
            }
            Event::Unavailable(because) => self.lifecycle.on_unavailable(because, now),
            Event::Unplugged => {
                self.phase.on_unplugged();
                let gone = unplugged();
                self.end_all(&gone, now);
                self.lifecycle.on_unavailable(gone.message.to_string(), now);
                Some(gone)
            }
            Event::Renamed(id) => {
                self.id = id;
                None
            }
        };
        if let Some(failure) = refusal.as_ref().filter(|_| self.lifecycle.card().is_none()) {
            self.end_session(failure.clone());
        }
        self.refuse_waiters(refusal, now);
    }

    /// The broker stops: refuses the waiters, ends the session, and releases the card once it is free.
    pub(super) fn stop(&mut self, now: Instant) {
        self.phase.on_stop();
        self.schedule.on_stopping();
        self.end_all(&shutting_down(), now);
        self.end_session(shutting_down());
        self.refuse_opening(shutting_down(), now);
        self.release_at_the_end();
    }

    /// Releases the slot's handle before the process ends, so that PC/SC has nothing to clean up.
    fn release_at_the_end(&mut self) {
        if self.phase == ReaderPhase::Draining && self.worker.is_idle() {
            self.start(Job::Release, Work::Handling);
        }
    }
}

/// The failure of requests at an unplugged reader.
pub(super) fn unplugged() -> Failure {
    Failure::not_sent(Reason::ReaderGone, "the reader was unplugged: wait for it with WatchReaders")
}
