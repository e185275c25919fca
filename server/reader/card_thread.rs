//! The card thread of one reader: the only hand on its slot. It does one job at a time, as the actor tells it, and steps a unit's
//! machine and the gate between APDUs. It decides nothing about the reader's state.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    card_view::CardView,
    gate,
    lease::Lease,
    life::UnitEnd,
    ticket::Ticket,
    unit::{Next, UnitRun},
};
use crate::{
    backend::{CardInfo, ProtocolChoice, ResetKind, Slot, SlotError},
    error::{Delivery, Failure, Reason},
};

/// How long a failed exchange waits to see whether the card is gone: longer than the slowest driver's look (400 ms).
const REMOVAL_WAIT: Duration = Duration::from_secs(1);

/// What the actor asks for. The thread ends when the actor drops its end.
pub(super) enum Job {
    /// Take the card.
    Take,
    /// Cut the card's power and reset it.
    ColdReset,
    /// Run a unit on the card that was taken.
    Unit(UnitJob),
    /// Reset the card that was taken.
    Reset(ResetKind),
    /// Let the card go.
    Release,
}

/// A unit whose turn has come.
pub(super) struct UnitJob {
    /// The unit.
    pub(super) ticket: Arc<Ticket>,
    /// The right to send it.
    pub(super) lease: Lease,
    /// Reset the card first.
    pub(super) reset: Option<ResetKind>,
    /// The card as it was taken.
    pub(super) card: CardInfo,
}

/// What the thread has done.
#[derive(Debug)]
pub(super) enum Report {
    /// After [`Job::Take`] and [`Job::ColdReset`].
    Took(Result<CardInfo, SlotError>),
    /// After [`Job::Unit`]. Its outcome is in the ticket.
    UnitEnded {
        /// How it left the card.
        end: UnitEnd,
        /// Whether something may be left in the card since its last reset.
        raised: bool,
    },
    /// After [`Job::Reset`].
    Reset(Result<CardInfo, SlotError>),
    /// After [`Job::Release`].
    Released,
}

/// Shows from outside whether the thread is in a call of the card stack, and since when.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin` to the start of the call, plus one; 0 between calls.
    called: Arc<AtomicU64>,
}

impl Pulse {
    fn new() -> Self {
        Self { origin: Instant::now(), called: Arc::default() }
    }

    /// When the call under way began, to the millisecond.
    pub(super) fn call_began(&self) -> Option<Instant> {
        let called = self.called.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.origin + Duration::from_millis(called))
    }

    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        let since_origin = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.called.store(since_origin + 1, Ordering::Release);
        let result = call();
        self.called.store(0, Ordering::Release);
        result
    }
}

/// Starts the thread of the reader `id`. It takes jobs until the sender is dropped, and tells `report` about each.
///
/// # Errors
/// If the system has no thread to give.
pub(super) fn spawn(
    id: &str,
    slot: Box<dyn Slot>,
    protocols: ProtocolChoice,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<(mpsc::SyncSender<Job>, Pulse)> {
    // One job at a time: the actor sends the next one when the report about the last has come.
    let (jobs, next_job) = mpsc::sync_channel(1);
    let pulse = Pulse::new();
    let mut hand = Hand { slot, protocols, pulse: pulse.clone(), view: CardView::default() };
    thread::Builder::new().name(format!("card {id}")).spawn(move || {
        for job in next_job {
            report(hand.act(job));
        }
        hand.slot.release();
    })?;
    Ok((jobs, pulse))
}

struct Hand {
    slot: Box<dyn Slot>,
    protocols: ProtocolChoice,
    pulse: Pulse,
    view: CardView,
}

impl Hand {
    fn act(&mut self, job: Job) -> Report {
        match job {
            Job::Take => {
                let taken = self.pulse.during(|| self.slot.take(self.protocols));
                self.view.reset();
                Report::Took(taken)
            }
            Job::ColdReset => Report::Took(self.reset(ResetKind::Cold)),
            Job::Reset(kind) => Report::Reset(self.reset(kind)),
            Job::Unit(unit) => {
                let end = self.run(&unit);
                Report::UnitEnded { end, raised: self.view.is_raised() }
            }
            Job::Release => {
                self.pulse.during(|| self.slot.release());
                Report::Released
            }
        }
    }

    fn reset(&mut self, kind: ResetKind) -> Result<CardInfo, SlotError> {
        let reset = self.pulse.during(|| self.slot.reset(kind, self.protocols));
        if reset.is_ok() {
            self.view.reset();
        }
        reset
    }

    /// Runs a unit to its end or first stop, whatever becomes of its caller.
    fn run(&mut self, job: &UnitJob) -> UnitEnd {
        let request = &job.ticket.request;
        let mut card = job.card.clone();
        if let Some(kind) = job.reset {
            match self.reset(kind) {
                Ok(after) => card = after,
                Err(error) => {
                    let (failure, end) = self.explain(error);
                    // The commands were not sent, whatever became of the reset.
                    let failure = Failure { delivery: Delivery::NotSent, ..reset_failed(failure) };
                    job.ticket.end(Some(failure), Instant::now());
                    return end;
                }
            }
        }
        let mut run = match UnitRun::new(&request.commands, request.raw, card.protocol) {
            Ok(run) => run,
            Err(failure) => {
                job.ticket.end(Some(failure), Instant::now());
                return UnitEnd::InOrder(card);
            }
        };
        let (stop, end) = loop {
            let command = match run.next() {
                Next::Finished(stop) => break (stop, UnitEnd::InOrder(card)),
                Next::Exchange(command) => command,
            };
            if let Err(failure) = gate::admit(&job.lease) {
                break (Some(failure), UnitEnd::InOrder(card));
            }
            self.view.sends(&command);
            match self.pulse.during(|| self.slot.exchange(&command)) {
                Ok(response) => {
                    self.view.answered(&response);
                    if let Some(result) = run.answered(&response) {
                        job.ticket.push(result);
                    }
                }
                Err(error) => {
                    let (failure, end) = self.explain(error);
                    break (Some(failure), end);
                }
            }
        };
        if let Some(partial) = run.take_partial() {
            job.ticket.push_partial(partial);
        }
        job.ticket.end(stop, Instant::now());
        end
    }

    /// What a failed call means for its caller, and for the card.
    fn explain(&mut self, error: SlotError) -> (Failure, UnitEnd) {
        let delivery = error.delivery();
        let (reason, message, end) = match error {
            SlotError::NoCard | SlotError::CardRemoved => (Reason::CardRemoved, REMOVED.into(), UnitEnd::Removed),
            SlotError::Lost(_) | SlotError::Mute(_) if self.slot.wait_removal(REMOVAL_WAIT) => {
                (Reason::CardRemoved, REMOVED.into(), UnitEnd::Removed)
            }
            SlotError::Lost(_) | SlotError::Mute(_) => {
                (Reason::CardLost, format!("{error}: the card is reset, look at it before you go on"), UnitEnd::Lost)
            }
            SlotError::CardReset | SlotError::Held | SlotError::ProtocolMismatch => {
                (Reason::CardReset, format!("{error}: start again"), UnitEnd::Lost)
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
