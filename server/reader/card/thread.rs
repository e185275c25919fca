//! The card thread of one reader, the only user of its slot. It performs one job of the actor or a session at a time,
//! and drives a unit's state machine and the gate between exchanges. It does not decide about the reader's state.

use std::{
    io,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::gate::{self, Gate},
    error::{Failure, Reason},
    journal::{Event, EventKind},
    lifecycle::{UnitEnd, fault::Fault},
    slot::{CardInfo, ProtocolChoice, ResetKind, SlotError},
    status::preceding_failed,
    turns::{
        lease::{Activity, Lease},
        turn::{Left, Turn},
    },
};
use tokio::sync::oneshot;
use tracing::Span;

use super::run::Ran;
use crate::{
    backend::Slot,
    journal::JournalHandle,
    reader::{
        jobs::{CallWatchdog, Job, MAX_PIPELINED, Report, SessionJob, SessionTask},
        spans,
        ticket::Ticket,
    },
};

/// The inputs of a card thread.
pub(in crate::reader) struct CardSetup {
    /// The only access to the reader's slot.
    pub(in crate::reader) slot: Box<dyn Slot>,
    /// The protocols that the card may use.
    pub(in crate::reader) protocols: ProtocolChoice,
    /// The gate before the card.
    pub(in crate::reader) gate: Gate,
    /// The journal that records each exchange and reset.
    pub(in crate::reader) journal: JournalHandle,
}

/// Starts the thread of the reader `id`. It performs jobs until all senders are dropped, and passes reports to
/// `report`.
///
/// # Errors
/// The system cannot create a thread.
pub(in crate::reader) fn spawn(
    id: &str,
    setup: CardSetup,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<(mpsc::SyncSender<Job>, CallWatchdog)> {
    // The actor sends its next job after the report about the last one; a session has at most MAX_PIPELINED tasks.
    let (jobs, next_job) = mpsc::sync_channel(MAX_PIPELINED + 2);
    let watchdog = CallWatchdog::new();
    let (reader, watching) = (id.to_owned(), watchdog.clone());
    let CardSetup { slot, protocols, gate, journal } = setup;
    let mut worker = CardWorker { reader, slot, protocols, watchdog: watching, gate, journal, card: None };
    thread::Builder::new().name(format!("card {id}")).spawn(move || {
        for job in next_job {
            worker.act(job, &report);
        }
        worker.slot.release();
    })?;
    Ok((jobs, watchdog))
}

/// The state of the card thread, which alone reads and writes it.
pub(super) struct CardWorker {
    /// The reader's id, for logs. Never changes.
    pub(super) reader: String,
    /// The reader's slot in the card stack. Released when the thread ends.
    pub(super) slot: Box<dyn Slot>,
    /// The protocols that the card may use, from the reader's settings. Never change.
    pub(super) protocols: ProtocolChoice,
    /// Marks the beginning and end of each call of the slot. The actor has a clone and detects hangs by it.
    pub(super) watchdog: CallWatchdog,
    /// Admits each exchange, and follows the effects of commands. Forgets them when the card is taken or lost.
    pub(super) gate: Gate,
    /// The reader's journal, which records each exchange and each reset.
    pub(super) journal: JournalHandle,
    /// The card in use. `None` before it is taken, after its release, and after a loss, so that nothing is sent to a
    /// card that may have been swapped.
    pub(super) card: Option<CardInfo>,
}

impl CardWorker {
    /// Does a job. Reports it to the actor if the actor waits for the report or the reader's state changes.
    fn act(&mut self, job: Job, report: &impl Fn(Report)) {
        let done = match job {
            Job::Take => {
                let began = Instant::now();
                let taken = self.watchdog.during(|| self.slot.take(self.protocols));
                // A card that is taken is reset once.
                if taken.is_ok() {
                    self.record_reset(ResetKind::Warm, true, began, began.elapsed(), None);
                }
                self.gate.forget();
                self.card = taken.clone().ok();
                Report::Taken(taken)
            }
            Job::ColdReset => Report::Taken(self.reset(ResetKind::Cold, None).0),
            Job::Reset(kind) => {
                let (reset, took) = self.reset(kind, None);
                Report::Reset { kind, took, reset }
            }
            Job::Unit(unit) => {
                let Ran { end, failure, reset_took } = self.run(&unit.ticket, &unit.lease, unit.reset, None);
                let ended = Instant::now();
                let left = Left { raised: self.gate.is_raised(), ..Left::default() };
                // The report precedes the answer, so that a caller's next request after the answer finds the card free.
                let stop = failure.as_ref().map(|failure| failure.reason);
                report(Report::UnitEnded { end, stop, reset_took, left });
                unit.ticket.end(failure, ended);
                return;
            }
            Job::Session(job) => match self.serve(job) {
                Some(done) => done,
                None => return,
            },
            Job::EndOfSession(reset) => {
                let raised = self.gate.is_raised();
                let reset = reset.filter(|_| self.card.is_some()).map(|kind| {
                    let (reset, took) = self.reset(kind, None);
                    (kind, took, reset)
                });
                Report::SessionEnded { reset, raised }
            }
            Job::Release => {
                self.watchdog.during(|| self.slot.release());
                self.card = None;
                Report::Released
            }
        };
        report(done);
    }

    /// Performs a session's task. Returns a report only if the reader's state changes.
    fn serve(&mut self, job: SessionJob) -> Option<Report> {
        if job.restart {
            job.failed.store(false, Ordering::Relaxed);
        }
        let must_stop = job.lease.stop_requested().is_some() && !job.activity.is_pair_open();
        let refusal = gate::check(&job.lease)
            .err()
            .or_else(|| must_stop.then(gate::lease_ended))
            .or_else(|| job.failed.load(Ordering::Relaxed).then(preceding_failed))
            // The session ends when the actor receives the report; a reset before that could reach another card.
            .or_else(|| self.card.is_none().then(|| Failure::not_sent(Reason::LeaseEnded, LOST)));
        let (report, failed) = match (job.task, refusal) {
            (task, Some(refusal)) => {
                task.refuse(refusal);
                (None, true)
            }
            (SessionTask::Unit { ticket, turn }, None) => self.serve_unit(&ticket, turn, &job.lease, &job.activity),
            // The holder no longer waits for the reset.
            (SessionTask::Reset { claim, .. }, None) if !claim.take() => (None, true),
            (SessionTask::Reset { kind, reply, .. }, None) => {
                job.activity.set_pair_open(false);
                self.serve_reset(kind, reply)
            }
        };
        job.failed.fetch_or(failed, Ordering::Relaxed);
        job.activity.done(Instant::now());
        report
    }

    fn serve_unit(&mut self, ticket: &Ticket, turn: Turn, lease: &Lease, session: &Activity) -> (Option<Report>, bool) {
        if !ticket.begin(turn) {
            return (None, true);
        }
        let Ran { end, failure, .. } = self.run(ticket, lease, None, Some(session));
        let unanswered = ticket.end(failure.clone(), Instant::now());
        match (end, failure) {
            (UnitEnd::InOrder(_), _) => (None, unanswered),
            // The session may continue: its holder knows of the reset, and the card holds no state of it.
            (UnitEnd::Lost, Some(failure)) if failure.reason == Reason::CardReset => {
                let report = match self.reset(ResetKind::Warm, Some((ticket, lease))).0 {
                    Ok(card) => Report::ForeignReset(card),
                    Err(_) => Report::SessionFault { end: UnitEnd::Lost, failure },
                };
                (Some(report), true)
            }
            (end, failure) => {
                let failure = failure.unwrap_or_else(|| Failure::unknown(Reason::Internal, NO_REASON));
                (Some(Report::SessionFault { end, failure }), true)
            }
        }
    }

    fn serve_reset(
        &mut self,
        kind: ResetKind,
        reply: oneshot::Sender<Result<CardInfo, Failure>>,
    ) -> (Option<Report>, bool) {
        let (reset, took) = self.reset(kind, None);
        let (report, answer) = match reset {
            Ok(card) => (Report::Reset { kind, took, reset: Ok(card.clone()) }, Ok(card)),
            Err(error) => {
                let Fault { failure, end } = self.fault(&error);
                let failure = failure.into_not_sent();
                (Report::SessionFault { end, failure: failure.clone() }, Err(failure))
            }
        };
        let failed = answer.is_err();
        // An error means that the holder has disconnected.
        let _ = reply.send(answer);
        (Some(report), failed)
    }

    /// Resets the card, for a unit and its lease, if any. Returns the card after the reset, and the reset's duration.
    pub(super) fn reset(
        &mut self,
        kind: ResetKind,
        unit: Option<(&Ticket, &Lease)>,
    ) -> (Result<CardInfo, SlotError>, Duration) {
        let Self { reader, slot, protocols, watchdog, .. } = self;
        let parent = unit.map_or_else(Span::none, |(ticket, _)| ticket.record().span().clone());
        let began = Instant::now();
        let (reset, took) = spans::reset(&parent, reader, kind, || watchdog.during(|| slot.reset(kind, *protocols)));
        self.record_reset(kind, reset.is_ok(), began, took, unit);
        if reset.is_ok() {
            self.gate.reset();
        }
        self.card = reset.clone().ok();
        (reset, took)
    }

    /// Records a reset into the journal, for a unit and its lease, if any.
    fn record_reset(
        &self,
        kind: ResetKind,
        answered: bool,
        began: Instant,
        took: Duration,
        unit: Option<(&Ticket, &Lease)>,
    ) {
        self.journal.record(&Event {
            at: began,
            origin: unit.map(|(ticket, _)| Arc::clone(ticket.access.origin())),
            lease: unit.map(|(_, lease)| lease.number()),
            kind: EventKind::Reset { kind, answered, took },
        });
    }
}

const NO_REASON: &str = "the unit failed without a reason: restart the broker and report the fault";

const LOST: &str = "the session has lost its card: check the card's state before you open a new session";

/// Returns the thread's function for one job, for tests that call it step by step.
#[cfg(test)]
pub(in crate::reader) fn without_thread(slot: Box<dyn Slot>, gate: Gate) -> impl FnMut(Job) -> Option<Report> {
    let (protocols, watchdog) = (ProtocolChoice::Any, CallWatchdog::new());
    let (reader, journal) = (String::new(), JournalHandle::default());
    let mut worker = CardWorker { reader, slot, protocols, watchdog, gate, journal, card: None };
    move |job| {
        let done = std::cell::Cell::new(None);
        worker.act(job, &|report| done.set(Some(report)));
        done.take()
    }
}
