//! The card thread of one reader, the only user of its slot. It performs one job of the actor or a session at a time,
//! and drives a unit's state machine and the gate between exchanges. It does not decide about the reader's state.

use std::{
    io,
    sync::{atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    card::{
        gate::{self, Gate},
        unit::{Exchange, Next, UnitRun},
    },
    error::{Failure, Reason},
    lifecycle::{
        UnitEnd,
        fault::{self, Fault},
    },
    slot::{CardInfo, ProtocolChoice, ResetKind, SlotError},
    status::preceding_failed,
    turns::{
        bounds,
        lease::{Activity, Lease},
        turn::{Left, Turn},
    },
};
use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    backend::Slot,
    reader::{
        jobs::{CallWatchdog, Job, MAX_PIPELINED, Report, SessionJob, SessionTask},
        spans,
        ticket::Ticket,
    },
};

/// The longest wait after a failed exchange for the removal of the card. The slowest driver polls every 400 ms.
const REMOVAL_WAIT: Duration = Duration::from_millis(900);

/// Starts the thread of the reader `id`. It performs jobs until all senders are dropped, and passes reports to
/// `report`.
///
/// # Errors
/// The system cannot create a thread.
pub(in crate::reader) fn spawn(
    id: &str,
    slot: Box<dyn Slot>,
    protocols: ProtocolChoice,
    gate: Gate,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<(mpsc::SyncSender<Job>, CallWatchdog)> {
    // The actor sends its next job after the report about the last one; a session has at most MAX_PIPELINED tasks.
    let (jobs, next_job) = mpsc::sync_channel(MAX_PIPELINED + 2);
    let watchdog = CallWatchdog::new();
    let (reader, watching) = (id.to_owned(), watchdog.clone());
    let mut worker = CardWorker { reader, slot, protocols, watchdog: watching, gate, card: None };
    thread::Builder::new().name(format!("card {id}")).spawn(move || {
        for job in next_job {
            worker.act(job, &report);
        }
        worker.slot.release();
    })?;
    Ok((jobs, watchdog))
}

/// The state of the card thread, which alone reads and writes it.
struct CardWorker {
    /// The reader's id, for logs. Never changes.
    reader: String,
    /// The reader's slot in the card stack. Released when the thread ends.
    slot: Box<dyn Slot>,
    /// The protocols that the card may use, from the reader's settings. Never change.
    protocols: ProtocolChoice,
    /// Marks the beginning and end of each call of the slot. The actor has a clone and detects hangs by it.
    watchdog: CallWatchdog,
    /// Admits each exchange, and follows the effects of commands. Forgets them when the card is taken or lost.
    gate: Gate,
    /// The card in use. `None` before it is taken, after its release, and after a loss, so that nothing is sent to a
    /// card that may have been swapped.
    card: Option<CardInfo>,
}

impl CardWorker {
    /// Does a job. Reports it to the actor if the actor waits for the report or the reader's state changes.
    fn act(&mut self, job: Job, report: &impl Fn(Report)) {
        let done = match job {
            Job::Take => {
                let taken = self.watchdog.during(|| self.slot.take(self.protocols));
                self.gate.forget();
                self.card = taken.clone().ok();
                Report::Taken(taken)
            }
            Job::ColdReset => Report::Taken(self.reset(ResetKind::Cold, &Span::none()).0),
            Job::Reset(kind) => {
                let (reset, took) = self.reset(kind, &Span::none());
                Report::Reset { kind, took, reset }
            }
            Job::Unit(unit) => {
                let Ran { end, failure, reset_took } = self.run(&unit.ticket, &unit.lease, unit.reset, None);
                let ended = Instant::now();
                let left = Left { raised: self.gate.is_raised(), ..Left::default() };
                // The report precedes the answer, so that a caller's next request after the answer finds the card free.
                report(Report::UnitEnded { end, reset_took, left });
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
                    let (reset, took) = self.reset(kind, &Span::none());
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
                let report = match self.reset(ResetKind::Warm, ticket.record().span()).0 {
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
        let (reset, took) = self.reset(kind, &Span::none());
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

    /// Resets the card, for the request whose span is `parent`, if any. Returns the card after the reset, and the
    /// reset's duration.
    fn reset(&mut self, kind: ResetKind, parent: &Span) -> (Result<CardInfo, SlotError>, Duration) {
        let Self { reader, slot, protocols, watchdog, .. } = self;
        let (reset, took) = spans::reset(parent, reader, kind, || watchdog.during(|| slot.reset(kind, *protocols)));
        if reset.is_ok() {
            self.gate.reset();
        }
        self.card = reset.clone().ok();
        (reset, took)
    }

    /// Runs a unit to its end or first stop, even if its caller disconnects. Does not end the ticket. `session` is the
    /// activity of the session that the unit belongs to, if any.
    fn run(&mut self, ticket: &Ticket, lease: &Lease, reset: Option<ResetKind>, session: Option<&Activity>) -> Ran {
        let ran = self.try_run(ticket, lease, reset, session);
        if !matches!(ran.end, UnitEnd::InOrder(_)) {
            self.card = None;
            self.gate.forget();
        }
        ran
    }

    fn try_run(&mut self, ticket: &Ticket, lease: &Lease, reset: Option<ResetKind>, session: Option<&Activity>) -> Ran {
        let mut reset_took = None;
        if let Some(kind) = reset {
            let (reset, took) = self.reset(kind, ticket.record().span());
            if let Err(error) = reset {
                // The commands were not sent, with or without a reset.
                return self.fault(&error).of_reset_before_unit().into();
            }
            reset_took = Some((kind, took));
        }
        let Some(card) = self.card.clone() else { return Fault::removed().into() };
        let mut run = match UnitRun::new(&ticket.commands, card.protocol) {
            Ok(run) => run,
            Err(failure) => return Ran { end: UnitEnd::InOrder(card), failure: Some(failure), reset_took },
        };
        let (end, failure) = self.steps(&mut run, card, ticket, lease, session);
        if let Some(partial) = run.take_partial() {
            ticket.push_partial(partial);
        }
        if let Some(session) = session {
            session.set_pair_open(failure.is_none() && run.is_pair_open());
        }
        Ran { end, failure, reset_took }
    }

    /// Sends the exchanges of a unit until it ends or stops. Returns the state in which it left the card, and the
    /// failure that stopped it.
    fn steps(
        &mut self,
        run: &mut UnitRun<'_>,
        card: CardInfo,
        ticket: &Ticket,
        lease: &Lease,
        session: Option<&Activity>,
    ) -> (UnitEnd, Option<Failure>) {
        let mut has_sent = false;
        loop {
            let exchange = match run.next() {
                Next::Finished(stop) => return (UnitEnd::InOrder(card), stop),
                Next::Exchange(exchange) => exchange,
            };
            let stops = |requested| has_sent && bounds::stops(requested, Instant::now(), run.is_pair_open());
            if lease.stop_requested().is_some_and(stops) {
                let too_long = || Failure::not_sent(Reason::UnitTooLong, TOO_LONG);
                let failure = if session.is_some() { gate::lease_ended() } else { too_long() };
                return (UnitEnd::InOrder(card), Some(failure));
            }
            match self.exchange(ticket, lease, exchange) {
                Ok((response, took)) => {
                    has_sent = true;
                    if let Some(result) = run.answered(&response, took) {
                        ticket.push(result);
                    }
                }
                Err(NoResponse::Refused(failure)) => return (UnitEnd::InOrder(card), Some(failure)),
                Err(NoResponse::Failed(error)) => {
                    let Fault { end, failure } = self.fault(&error);
                    return (end, Some(failure));
                }
            }
        }
    }

    /// Sends one APDU if the gate admits it. Returns the response, and the time that the reader and the card took.
    fn exchange(
        &mut self,
        ticket: &Ticket,
        lease: &Lease,
        exchange: Exchange<'_>,
    ) -> Result<(ApduBytes, Duration), NoResponse> {
        let completes = exchange.completes;
        // Read again for each exchange, because the rules may have changed.
        let policy = ticket.access.policy();
        let admitted = self
            .gate
            .admit(lease, &ticket.access.command_rules(&policy), exchange)
            .map_err(|refusal| NoResponse::Refused(ticket.access.record_refusal(refusal)))?;
        let (span, mut took) = (ticket.record().exchange(completes), Duration::ZERO);
        let exchanged = admitted.exchange(|command| {
            let began = Instant::now();
            let answer = span.in_scope(|| self.watchdog.during(|| self.slot.exchange(command)));
            took = began.elapsed();
            answer
        });
        spans::exchanged(&span, took, exchanged.is_ok());
        exchanged.map(|response| (response, took)).map_err(NoResponse::Failed)
    }

    /// The meaning of a failed call. Waits for a removal of the card if that changes the meaning.
    fn fault(&mut self, error: &SlotError) -> Fault {
        let is_removed =
            fault::leaves_removal_open(error) && self.watchdog.during(|| self.slot.wait_removal(REMOVAL_WAIT));
        fault::meaning(error, is_removed, self.protocols)
    }
}

const NO_REASON: &str = "the unit failed without a reason: restart the broker and report the fault";

const TOO_LONG: &str = "the unit used the card for the maximum time while callers of other groups waited: send the \
                        rest in another unit, or in a session";

/// The result of a unit's run, before its ticket ends.
struct Ran {
    /// The state in which the unit left the card.
    end: UnitEnd,
    /// The failure that stopped it; `None` if it finished.
    failure: Option<Failure>,
    /// The kind and duration of the reset at the beginning, if there was one.
    reset_took: Option<(ResetKind, Duration)>,
}

impl From<Fault> for Ran {
    fn from(Fault { failure, end }: Fault) -> Self {
        Self { end, failure: Some(failure), reset_took: None }
    }
}

/// The reason for an exchange without a response.
enum NoResponse {
    /// The gate did not admit it.
    Refused(Failure),
    /// The call of the slot failed.
    Failed(SlotError),
}

const LOST: &str = "the session has lost its card: check the card's state before you open a new session";

/// Returns the thread's function for one job, for tests that call it step by step.
#[cfg(test)]
pub(in crate::reader) fn without_thread(slot: Box<dyn Slot>, gate: Gate) -> impl FnMut(Job) -> Option<Report> {
    let (protocols, watchdog) = (ProtocolChoice::Any, CallWatchdog::new());
    let mut worker = CardWorker { reader: String::new(), slot, protocols, watchdog, gate, card: None };
    move |job| {
        let done = std::cell::Cell::new(None);
        worker.act(job, &|report| done.set(Some(report)));
        done.take()
    }
}
