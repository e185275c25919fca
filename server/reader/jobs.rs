//! What actor, sessions and card thread say to each other, and the pulse by which a hanging call is seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::Failure,
    lifecycle::UnitEnd,
    slot::{CardInfo, ResetKind, SlotError},
    turns::{
        lease::{Activity, Lease},
        turn::Turn,
    },
};
use tokio::sync::oneshot;

use super::ticket::Ticket;

/// The most tasks of one session that may be under way.
pub const MAX_PIPELINED: usize = 32;

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
    /// Do one task of a session.
    Session(SessionJob),
    /// A session is over: what it has sent before is done by now. Reset the card, or leave it, and say so.
    EndOfSession(Option<ResetKind>),
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
}

/// A task of a session, straight from its holder.
pub(super) struct SessionJob {
    /// The right to do it.
    pub(super) lease: Lease,
    /// Hears when it is done.
    pub(super) activity: Arc<Activity>,
    /// Whether a task before it has failed and none since has restarted.
    pub(super) failed: Arc<AtomicBool>,
    /// Forget an earlier failure.
    pub(super) restart: bool,
    /// What to do.
    pub(super) task: SessionTask,
}

/// What a session can ask for.
pub(super) enum SessionTask {
    /// Run commands.
    Unit {
        /// The commands, and where their outcome goes.
        ticket: Arc<Ticket>,
        /// The session's turn.
        turn: Turn,
    },
    /// Reset the card.
    Reset {
        /// How.
        kind: ResetKind,
        /// Taken by the thread when it begins.
        claim: Claim,
        /// Hears what the card has become.
        reply: oneshot::Sender<Result<CardInfo, Failure>>,
    },
}

/// Who comes first may take it: the thread that begins a task, or the holder that waits for it no longer. Clones are
/// the same claim.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Takes it. False if it has been taken before.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
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
    /// After [`Job::Reset`], and after a reset that a session has asked for or needed.
    Reset(Result<CardInfo, SlotError>),
    /// A session's task has found the card reset by someone else, and it was reset again.
    ForeignReset(CardInfo),
    /// A session's task has found the card unusable, which ends the session.
    SessionFault {
        /// How it left the card.
        end: UnitEnd,
        /// Why.
        failure: Failure,
    },
    /// After [`Job::EndOfSession`].
    SessionEnded {
        /// The card's reset, if one was due and the card was still there.
        reset: Option<Result<CardInfo, SlotError>>,
        /// Whether something may be left in the card since its last reset.
        raised: bool,
    },
    /// After [`Job::Release`].
    Released,
}

/// Shows from outside whether the thread is in a call of the card stack, and since when.
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

    /// When the call under way began, to the millisecond.
    pub(super) fn call_began(&self) -> Option<Instant> {
        let called = self.called.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.origin + Duration::from_millis(called))
    }

    /// Shows the pulse during `call`.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        let since_origin = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.called.store(since_origin + 1, Ordering::Release);
        let result = call();
        self.called.store(0, Ordering::Release);
        result
    }
}

impl SessionTask {
    /// Answers the task without doing it.
    pub(super) fn refuse(self, refusal: Failure) {
        match self {
            Self::Unit { ticket, .. } => {
                ticket.end_waiting(refusal);
            }
            // An error means that the holder has gone.
            Self::Reset { reply, .. } => drop(reply.send(Err(refusal))),
        }
    }
}
