//! The messages between the actor, sessions and the card thread, and the watchdog that shows a hanging call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::{Failure, Reason},
    lifecycle::UnitEnd,
    slot::{CardInfo, ResetKind, SlotError},
    turns::{
        lease::{Activity, Lease},
        turn::{Left, Turn},
    },
};
use tokio::sync::oneshot;

use super::ticket::Ticket;

/// The maximum number of tasks of one session in progress.
pub const MAX_PIPELINED: usize = 32;

/// A job for the card thread. The thread ends when the actor and all sessions have dropped their senders.
pub(super) enum Job {
    /// Take the card exclusively and reset it.
    Take,
    /// Cut the card's power and reset it.
    ColdReset,
    /// Run a unit on the taken card.
    Unit(UnitJob),
    /// Reset the taken card, warm or cold.
    Reset(ResetKind),
    /// Do one task of a session.
    Session(SessionJob),
    /// End a session, after all its tasks: reset the card or leave it, and report.
    EndOfSession(Option<ResetKind>),
    /// Release the card, for other programs.
    Release,
}

/// A unit whose turn has come.
pub(super) struct UnitJob {
    /// The unit. The thread stores results in it and ends it.
    pub(super) ticket: Arc<Ticket>,
    /// The right to send it, checked before each exchange.
    pub(super) lease: Lease,
    /// The reset at the beginning of the turn, if there is one.
    pub(super) reset: Option<ResetKind>,
}

/// A task of a session, sent by its holder.
pub(super) struct SessionJob {
    /// The session's right to the card.
    pub(super) lease: Lease,
    /// The session's activity, which the thread updates when the task is done.
    pub(super) activity: Arc<Activity>,
    /// Whether an earlier task has failed and no later one has set `restart`. Only the card thread writes it.
    pub(super) failed: Arc<AtomicBool>,
    /// Whether the task clears an earlier failure.
    pub(super) restart: bool,
    pub(super) task: SessionTask,
}

/// A task of a session.
pub(super) enum SessionTask {
    /// Run the commands of a unit.
    Unit {
        /// The commands. The thread stores results in the ticket and ends it.
        ticket: Arc<Ticket>,
        /// The session's turn, begun anew for this unit.
        turn: Turn,
    },
    /// Reset the card, and report its new state.
    Reset {
        /// The kind of the requested reset.
        kind: ResetKind,
        /// Taken by the thread when the task begins.
        claim: Claim,
        /// The receiver of the card's facts after the reset.
        reply: oneshot::Sender<Result<CardInfo, Failure>>,
    },
}

/// A claim that succeeds once: for the thread that begins a task, or for the holder that no longer waits for it. Clones
/// are the same claim.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Takes the claim. Returns `false` if it was taken before.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A report of the card thread to the actor.
#[derive(Debug)]
pub(super) enum Report {
    /// The result of [`Job::Take`] and of [`Job::ColdReset`].
    Taken(Result<CardInfo, SlotError>),
    /// The end of [`Job::Unit`]. The unit's outcome is in the ticket.
    UnitEnded {
        /// How the unit left the card.
        end: UnitEnd,
        /// Why it stopped; `None` if it finished.
        stop: Option<Reason>,
        /// The kind and duration of the reset at the beginning, if there was one.
        reset_took: Option<(ResetKind, Duration)>,
        /// The state in which the unit leaves the card.
        left: Left,
    },
    /// The result of [`Job::Reset`], and of a reset that a session has requested or needed.
    Reset {
        /// The kind of the reset, warm or cold.
        kind: ResetKind,
        /// The duration of the reset.
        took: Duration,
        /// The card after the reset, or the error.
        reset: Result<CardInfo, SlotError>,
    },
    /// A session's task has found the card reset by another program, and the thread reset it again.
    ForeignReset(CardInfo),
    /// A session's task has found the card unusable, which ends the session.
    SessionFault {
        /// How the task left the card.
        end: UnitEnd,
        /// The reason for the session's holder.
        failure: Failure,
    },
    /// The card after [`Job::EndOfSession`], reset or left.
    SessionEnded {
        /// The reset, if one was due and the card was still present: its kind, its duration, and the card after it.
        reset: Option<(ResetKind, Duration, Result<CardInfo, SlotError>)>,
        /// Whether security state may have been in the card when the session ended, before that reset.
        raised: bool,
    },
    /// [`Job::Release`] is done, with or without a card.
    Released,
}

/// Shows whether the thread is in a call of the card stack, and since when.
#[derive(Debug, Clone)]
pub(super) struct CallWatchdog {
    origin: Instant,
    /// Milliseconds from `origin` to the start of the call, plus one; 0 between calls.
    called: Arc<AtomicU64>,
}

impl CallWatchdog {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), called: Arc::default() }
    }

    /// When the current call began, to the millisecond.
    pub(super) fn call_began(&self) -> Option<Instant> {
        let called = self.called.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.origin + Duration::from_millis(called))
    }

    /// Marks the thread as in `call` while it lasts.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        let since_origin = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.called.store(since_origin + 1, Ordering::Release);
        let _ended = CallEnd(&self.called);
        call()
    }
}

/// Marks the end of a call of the card stack when it is dropped, after a panic too.
struct CallEnd<'a>(&'a AtomicU64);

impl Drop for CallEnd<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Job {
    /// Answers a job of the actor that the card thread did not receive. Returns a report to the actor. The state of the
    /// card is then unknown, so the actor takes the card again before the next turn.
    pub(super) fn refuse(self, refusal: Failure, now: Instant) -> Option<Report> {
        let lost = || SlotError::Lost("the card thread did not get the job".into());
        Some(match self {
            Self::Take | Self::ColdReset => Report::Taken(Err(lost())),
            Self::Unit(unit) => {
                let stop = Some(refusal.reason);
                unit.ticket.end(Some(refusal), now);
                Report::UnitEnded {
                    end: UnitEnd::Lost,
                    stop,
                    reset_took: None,
                    left: Left { raised: true, ..Left::default() },
                }
            }
            Self::Reset(kind) => Report::Reset { kind, took: Duration::ZERO, reset: Err(lost()) },
            Self::Session(job) => {
                job.task.refuse(refusal);
                job.activity.done(now);
                return None;
            }
            Self::EndOfSession(_) => {
                Report::SessionEnded { reset: Some((ResetKind::Warm, Duration::ZERO, Err(lost()))), raised: true }
            }
            Self::Release => Report::Released,
        })
    }
}

impl SessionTask {
    /// Answers the task with `refusal` without doing it.
    pub(super) fn refuse(self, refusal: Failure) {
        match self {
            Self::Unit { ticket, .. } => {
                ticket.end_waiting(refusal);
            }
            // An error means that the holder has disconnected.
            Self::Reset { reply, .. } => drop(reply.send(Err(refusal))),
        }
    }
}
