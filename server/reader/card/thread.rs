//! The card thread of one reader: the only hand on its slot. It does one job at a time, as the actor tells it, and steps a unit's
//! machine and the gate between APDUs. It decides nothing about the reader's state.

use std::{
    io,
    sync::{atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::{
        gate::{self, Gate},
        unit::{CommandResult, Next, UnitRun},
    },
    error::{Delivery, Failure, Reason},
    lifecycle::UnitEnd,
    slot::{CardInfo, ProtocolChoice, ResetKind, SlotError},
    status::{preceding_failed, protocol_mismatch},
    turns::{lease::Lease, turn::Turn},
};
use tokio::sync::oneshot;

use crate::{
    backend::Slot,
    reader::{
        jobs::{CallWatchdog, Job, MAX_PIPELINED, Report, SessionJob, SessionTask},
        ticket::Ticket,
    },
};

/// How long a failed exchange waits to see whether the card is gone: longer than the slowest driver's look (400 ms).
const REMOVAL_WAIT: Duration = Duration::from_millis(900);

/// Starts the thread of the reader `id`. It takes jobs until the sender is dropped, and tells `report` about each.
///
/// # Errors
/// If the system has no thread to give.
pub(in crate::reader) fn spawn(
    id: &str,
    slot: Box<dyn Slot>,
    protocols: ProtocolChoice,
    gate: Gate,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<(mpsc::SyncSender<Job>, CallWatchdog)> {
    // The actor's jobs come one at a time, the next when the report about the last has come; a session's are limited.
    let (jobs, next_job) = mpsc::sync_channel(MAX_PIPELINED + 2);
    let watchdog = CallWatchdog::new();
    let mut worker = CardWorker { slot, protocols, watchdog: watchdog.clone(), gate, card: None };
    thread::Builder::new().name(format!("card {id}")).spawn(move || {
        for job in next_job {
            if let Some(done) = worker.act(job) {
                report(done);
            }
        }
        worker.slot.release();
    })?;
    Ok((jobs, watchdog))
}

struct CardWorker {
    slot: Box<dyn Slot>,
    protocols: ProtocolChoice,
    watchdog: CallWatchdog,
    gate: Gate,
    /// The card, while it can be used: nothing is sent to one that may have been swapped.
    card: Option<CardInfo>,
}

impl CardWorker {
    fn act(&mut self, job: Job) -> Option<Report> {
        Some(match job {
            Job::Take => {
                let taken = self.watchdog.during(|| self.slot.take(self.protocols));
                self.gate.forget();
                self.card = taken.clone().ok();
                Report::Took(taken)
            }
            Job::ColdReset => Report::Took(self.reset(ResetKind::Cold)),
            Job::Reset(kind) => Report::Reset(self.reset(kind)),
            Job::Unit(unit) => {
                let (end, ..) = self.run(&unit.ticket, &unit.lease, unit.reset);
                Report::UnitEnded { end, raised: self.gate.is_raised() }
            }
            Job::Session(job) => return self.serve(job),
            Job::EndOfSession(reset) => {
                let reset = reset.filter(|_| self.card.is_some()).map(|kind| self.reset(kind));
                Report::SessionEnded { reset, raised: self.gate.is_raised() }
            }
            Job::Release => {
                self.watchdog.during(|| self.slot.release());
                self.card = None;
                Report::Released
            }
        })
    }

    /// Does a session's task. Only what changes the reader's state is reported.
    fn serve(&mut self, job: SessionJob) -> Option<Report> {
        if job.restart {
            job.failed.store(false, Ordering::Relaxed);
        }
        let refusal = gate::check(&job.lease)
            .err()
            .or_else(|| job.failed.load(Ordering::Relaxed).then(preceding_failed))
            // The session ends as soon as the actor hears of it; a reset now could bring it another card.
            .or_else(|| self.card.is_none().then(|| Failure::not_sent(Reason::LeaseEnded, LOST)));
        let (report, failed) = match (job.task, refusal) {
            (task, Some(refusal)) => {
                task.refuse(refusal);
                (None, true)
            }
            (SessionTask::Unit { ticket, turn }, None) => self.serve_unit(&ticket, turn, &job.lease),
            // Nobody waits for it any more.
            (SessionTask::Reset { claim, .. }, None) if !claim.take() => (None, true),
            (SessionTask::Reset { kind, reply, .. }, None) => self.serve_reset(kind, reply),
        };
        job.failed.fetch_or(failed, Ordering::Relaxed);
        job.activity.done(Instant::now());
        report
    }

    fn serve_unit(&mut self, ticket: &Ticket, turn: Turn, lease: &Lease) -> (Option<Report>, bool) {
        if !ticket.begin(turn) {
            return (None, true);
        }
        let (end, failure, unanswered) = self.run(ticket, lease, None);
        match (end, failure) {
            (UnitEnd::InOrder(_), _) => (None, unanswered),
            // The session may go on: it was told, and nothing of it is left in the card.
            (UnitEnd::Lost, Some(failure)) if failure.reason == Reason::CardReset => {
                let report = match self.reset(ResetKind::Warm) {
                    Ok(card) => Report::ForeignReset(card),
                    Err(_) => Report::SessionFault { end: UnitEnd::Lost, failure },
                };
                (Some(report), true)
            }
            (end, failure) => {
                let failure = failure.unwrap_or_else(|| Failure::unknown(Reason::Internal, "no reason: report this"));
                (Some(Report::SessionFault { end, failure }), true)
            }
        }
    }

    fn serve_reset(
        &mut self,
        kind: ResetKind,
        reply: oneshot::Sender<Result<CardInfo, Failure>>,
    ) -> (Option<Report>, bool) {
        let reset = self.reset(kind);
        let (report, answer) = match reset {
            Ok(card) => (Report::Reset(Ok(card.clone())), Ok(card)),
            Err(error) => {
                let (failure, end) = self.explain(error);
                let failure = Failure { delivery: Delivery::NotSent, ..failure };
                (Report::SessionFault { end, failure: failure.clone() }, Err(failure))
            }
        };
        let failed = answer.is_err();
        // An error means that the holder has gone.
        let _ = reply.send(answer);
        (Some(report), failed)
    }

    fn reset(&mut self, kind: ResetKind) -> Result<CardInfo, SlotError> {
        let reset = self.watchdog.during(|| self.slot.reset(kind, self.protocols));
        if reset.is_ok() {
            self.gate.reset();
        }
        self.card = reset.clone().ok();
        reset
    }

    /// Runs a unit to its end or first stop, whatever becomes of its caller. Returns how it left the card, why it stopped, and
    /// whether not one command was answered for that.
    fn run(&mut self, ticket: &Ticket, lease: &Lease, reset: Option<ResetKind>) -> (UnitEnd, Option<Failure>, bool) {
        let (end, failure, partial) = self.try_run(ticket, lease, reset);
        if let Some(partial) = partial {
            ticket.push_partial(partial);
        }
        let unanswered = ticket.end(failure.clone(), Instant::now());
        if !matches!(end, UnitEnd::InOrder(_)) {
            self.card = None;
            self.gate.forget();
        }
        (end, failure, unanswered)
    }

    fn try_run(
        &mut self,
        ticket: &Ticket,
        lease: &Lease,
        reset: Option<ResetKind>,
    ) -> (UnitEnd, Option<Failure>, Option<CommandResult>) {
        if let Some(Err(error)) = reset.map(|kind| self.reset(kind)) {
            let (failure, end) = self.explain(error);
            // The commands were not sent, whatever became of the reset.
            return (end, Some(Failure { delivery: Delivery::NotSent, ..reset_failed(failure) }), None);
        }
        let Some(card) = self.card.clone() else {
            return (UnitEnd::Removed, Some(Failure::not_sent(Reason::CardRemoved, REMOVED)), None);
        };
        let mut run = match UnitRun::new(&ticket.commands, card.protocol) {
            Ok(run) => run,
            Err(failure) => return (UnitEnd::InOrder(card), Some(failure), None),
        };
        loop {
            let exchange = match run.next() {
                Next::Finished(stop) => return (UnitEnd::InOrder(card), stop, run.take_partial()),
                Next::Exchange(exchange) => exchange,
            };
            // Anew for each exchange: the rules may have changed.
            let policy = ticket.access.policy();
            let admitted = match self.gate.admit(lease, &ticket.access.command_rules(&policy), exchange) {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    let failure = ticket.access.record_refusal(refusal);
                    return (UnitEnd::InOrder(card), Some(failure), run.take_partial());
                }
            };
            let (exchange, mut took) = (ticket.record().exchange(), Duration::ZERO);
            let exchanged = admitted.exchange(|command| {
                let began = Instant::now();
                let answer = exchange.in_scope(|| self.watchdog.during(|| self.slot.exchange(command)));
                took = began.elapsed();
                answer
            });
            match exchanged {
                Ok(response) => {
                    if let Some(result) = run.answered(&response, took) {
                        ticket.push(result);
                    }
                }
                Err(error) => {
                    let (failure, end) = self.explain(error);
                    return (end, Some(failure), run.take_partial());
                }
            }
        }
    }

    fn is_removed(&mut self) -> bool {
        self.watchdog.during(|| self.slot.wait_removal(REMOVAL_WAIT))
    }

    /// What a failed call means for its caller, and for the card.
    fn explain(&mut self, error: SlotError) -> (Failure, UnitEnd) {
        let delivery = error.delivery();
        let (reason, message, end) = match error {
            SlotError::NoCard | SlotError::CardRemoved => (Reason::CardRemoved, REMOVED.into(), UnitEnd::Removed),
            SlotError::Lost(_) | SlotError::Mute(_) if self.is_removed() => {
                (Reason::CardRemoved, REMOVED.into(), UnitEnd::Removed)
            }
            SlotError::Lost(_) | SlotError::Mute(_) => {
                (Reason::CardLost, format!("{error}: the card is reset, look at it before you go on"), UnitEnd::Lost)
            }
            SlotError::CardReset | SlotError::Held => {
                (Reason::CardReset, format!("{error}: start again"), UnitEnd::Lost)
            }
            SlotError::ProtocolMismatch => {
                let Failure { reason, message, .. } = protocol_mismatch(self.protocols);
                (reason, message.into_owned(), UnitEnd::Lost)
            }
            SlotError::StaleHandle | SlotError::Service(_) => {
                (Reason::PcscUnavailable, error.to_string(), UnitEnd::Unavailable(error.to_string()))
            }
            SlotError::ReaderGone => (Reason::ReaderGone, error.to_string(), UnitEnd::Unavailable(error.to_string())),
        };
        (Failure { delivery, ..Failure::unknown(reason, message) }, end)
    }
}

const REMOVED: &str = "the card was taken out: insert one, and look at it before you go on";

const LOST: &str = "the session has lost its card: look at the one that is there, and open a new session";

/// A reset before the unit that failed, unless the card or the reader is gone, which says more.
fn reset_failed(failure: Failure) -> Failure {
    match failure.reason {
        Reason::CardLost | Reason::CardReset => Failure {
            reason: Reason::ResetFailed,
            message: "the reset before the commands failed: retry".into(),
            ..failure
        },
        _ => failure,
    }
}

/// What the thread does with a job, without the thread, for tests that step it.
#[cfg(test)]
pub(in crate::reader) fn without_thread(slot: Box<dyn Slot>, gate: Gate) -> impl FnMut(Job) -> Option<Report> {
    let (protocols, watchdog) = (ProtocolChoice::Any, CallWatchdog::new());
    let mut worker = CardWorker { slot, protocols, watchdog, gate, card: None };
    move |job| worker.act(job)
}
