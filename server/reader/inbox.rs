//! The actor's inbox: messages of callers, waiting requests, and cancellations.

use std::{
    sync::{Arc, atomic::AtomicBool, mpsc::SyncSender},
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::{Caller, CallerKey},
    card::marks::CardMarks,
    error::{Failure, Reason},
    journal::TurnEnd,
    slot::CardInfo,
    turns::{
        lease::{Activity, Lease},
        request::RequestNumber,
        turn::{CardNow, Disposition, Turn, TurnRequest},
        waiting::{TurnKind, Turns},
    },
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    jobs::Job,
    snapshot::{ReaderSnapshot, Release, Released},
    spans::SessionSpan,
    ticket::Ticket,
};
use crate::{
    caller::group::GroupMark,
    policy::{access::Access, audit::SessionRecords},
};

/// A message of a caller to the actor.
pub(super) enum Message {
    /// A caller requests a turn.
    Submit {
        /// The number of the request, unique at this reader.
        number: RequestNumber,
        /// The caller, in whose round the request waits.
        caller: CallerKey,
        /// The request with its terms.
        waiting: Waiting,
    },
    /// A caller no longer waits, or returns a session's lease.
    Cancel {
        /// The number of the request or session.
        number: RequestNumber,
        /// How the session ends, if it is one.
        manner: Manner,
    },
}

/// A query to the actor. Not a [`Message`]: queries must not take the reserved messages of requests. Each `reply` is
/// dropped without an answer if the actor has ended.
pub(super) enum Query {
    /// A caller asks for its own waiting requests.
    Turns {
        /// The caller, whose own requests are shown.
        caller: Caller,
        /// The receiver of the answer.
        reply: oneshot::Sender<Turns>,
    },
    /// An operator asks for everything.
    Snapshot {
        /// The receiver of the answer.
        reply: oneshot::Sender<ReaderSnapshot>,
    },
    /// An operator ends a turn.
    Release {
        /// Which turn, and who ends it.
        release: Release,
        /// The receiver of the effect; `None` if the turn is not that of the lease any more.
        reply: oneshot::Sender<Option<Released>>,
    },
}

/// A request that waits for its turn. Created by the reader's handle, owned by the actor's queue. Must be ended with
/// [`Waiting::end`]: if it is only dropped, its caller gets an internal failure.
pub(super) struct Waiting {
    /// The isolation group of its commands.
    pub(super) group: GroupMark,
    /// The use of the turn.
    pub(super) purpose: Purpose,
}

/// The use of a turn.
pub(super) enum Purpose {
    /// One unit, whose caller holds its ticket too.
    Unit(UnitTicket),
    /// A session, whose caller has the other end.
    Session(Box<SessionTicket>),
}

impl Waiting {
    /// The terms of its wait.
    pub(super) fn turn(&self) -> &TurnRequest {
        match &self.purpose {
            Purpose::Unit(unit) => &unit.turn,
            Purpose::Session(session) => &session.request.turn,
        }
    }

    /// Its turn has come: returns the failure if a condition does not match the card.
    pub(super) fn broken_condition(&self, card: CardNow<'_>) -> Option<Failure> {
        match &self.purpose {
            Purpose::Unit(unit) => unit.ticket.broken_condition(card),
            Purpose::Session(session) => session.request.turn.broken_condition(card),
        }
    }

    /// The caller and its permissions.
    pub(super) fn access(&self) -> &Access {
        match &self.purpose {
            Purpose::Unit(unit) => &unit.ticket.access,
            Purpose::Session(session) => &session.access,
        }
    }

    /// The end of its `wait_timeout`.
    pub(super) fn deadline(&self) -> Instant {
        self.arrived() + self.turn().wait_timeout
    }

    /// The kind of turn, for queries.
    pub(super) fn kind(&self) -> TurnKind {
        match &self.purpose {
            Purpose::Unit(_) => TurnKind::Unit,
            Purpose::Session(_) => TurnKind::Session,
        }
    }

    /// When the reader's handle received it.
    pub(super) fn arrived(&self) -> Instant {
        match &self.purpose {
            Purpose::Unit(unit) => unit.ticket.arrived,
            Purpose::Session(session) => session.arrived,
        }
    }

    /// Ends it without a turn; its caller gets `failure`.
    pub(super) fn end(self, failure: Failure) {
        match self.purpose {
            Purpose::Unit(unit) => {
                unit.ticket.end_waiting(failure);
            }
            Purpose::Session(session) => session.refuse(failure),
        }
    }
}

/// The request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The terms of its wait.
    pub turn: TurnRequest,
    /// The maximum idle time while others wait.
    pub idle_timeout: Duration,
    /// The disposition of the card. A session that ends abnormally never leaves the card as it is.
    pub disposition: Disposition,
    /// The events that the audit trail records.
    pub records: SessionRecords,
}

/// How a session's lease is returned.
pub(super) enum Manner {
    /// Normally: its holder has ended the session.
    InOrder {
        /// Notified when the disposition is carried out, or will be before another caller's turn.
        done: oneshot::Sender<()>,
    },
    /// Abnormally: its holder has disconnected.
    Abruptly,
}

/// The failure that ended a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOver {
    /// The reason. Its delivery is [`Delivery::NotSent`](cardbroker_core::error::Delivery::NotSent): it concerns
    /// messages that were not read.
    pub failure: Failure,
    /// Whether the current task gets no answer in time: the driver hangs in it, or the card thread has ended.
    pub hangs: bool,
}

/// A unit that waits, on the actor's side. The caller's side is [`Submission`](super::Submission).
pub(super) struct UnitTicket {
    /// The unit, shared with its caller, and with the card thread once the turn has come.
    pub(super) ticket: Arc<Ticket>,
    /// The terms of its wait. The ticket has a copy, to which repeats of the request add conditions.
    pub(super) turn: TurnRequest,
    /// The disposition of the card after the unit.
    pub(super) disposition: Disposition,
}

/// A session that waits, on the actor's side. The caller's side is [`Opening`](super::session::Opening).
pub(super) struct SessionTicket {
    /// The request as the caller made it.
    pub(super) request: SessionRequest,
    /// The caller and its permissions. Checked again when the turn has come.
    pub(super) access: Access,
    /// When the reader's handle received the request.
    pub(super) arrived: Instant,
    /// To the caller: the turn, or the failure. Dropped without either, it is an internal failure there.
    pub(super) grant: oneshot::Sender<Result<Grant, Failure>>,
    /// To the caller: the number of turns before its own. The actor writes it while the request waits.
    pub(super) turns_ahead: watch::Sender<usize>,
    /// The session's line in the log. Dropped with the request, it records that the caller has disconnected.
    pub(super) record: SessionSpan,
}

impl SessionTicket {
    /// Ends the request without a turn; its caller gets `failure`.
    pub(super) fn refuse(self, failure: Failure) {
        let Self { grant, mut record, .. } = self;
        record.end(TurnEnd::Failed(failure.reason));
        // An error means that nobody waits any more.
        let _ = grant.send(Err(failure));
    }
}

/// A session's turn: created by the actor, owned by the session until its end.
pub(super) struct Grant {
    /// The turn's facts, for responses to the client.
    pub(super) turn: Turn,
    /// The card at the beginning of the turn.
    pub(super) card: CardInfo,
    /// Counters of the card's resets and selections. The card thread writes them.
    pub(super) marks: Arc<CardMarks>,
    /// The right to send. The actor ends it; a clone goes with each task.
    pub(super) lease: Lease,
    /// Whether a task is in progress. The session and the card thread write it, the actor reads it.
    pub(super) activity: Arc<Activity>,
    /// The sender to the card thread, which bypasses the actor. The thread cannot end while the session holds it.
    pub(super) jobs: SyncSender<Job>,
    /// The number of waiting callers. The actor writes it.
    pub(super) waiters: watch::Receiver<usize>,
    /// Whether one of them belongs to another isolation group. The actor writes it.
    pub(super) others_wait: Arc<AtomicBool>,
    /// Why the broker has ended the session. The actor writes it, a second time if the driver hangs after that.
    pub(super) over: watch::Receiver<Option<SessionOver>>,
}

/// The cancellation of a request, or the return of a lease. Dropping it sends the message.
pub(super) struct CancelOnDrop {
    /// The message to the inbox, reserved with the request. `None` once it was sent or disarmed.
    reserved: Option<mpsc::OwnedPermit<Message>>,
    /// The number of the request or session.
    number: RequestNumber,
}

impl CancelOnDrop {
    pub(super) fn new(reserved: mpsc::OwnedPermit<Message>, number: RequestNumber) -> Self {
        Self { reserved: Some(reserved), number }
    }

    /// The request has ended by itself: disarms the cancellation.
    pub(super) fn forget(&mut self) {
        self.reserved = None;
    }

    /// Sends the cancellation, once. No effect after that.
    pub(super) fn send(&mut self, manner: Manner) {
        if let Some(reserved) = self.reserved.take() {
            reserved.send(Message::Cancel { number: self.number, manner });
        }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.send(Manner::Abruptly);
    }
}

/// The failure of requests at a reader whose actor or card thread has ended although the broker runs.
pub(super) fn reader_ended() -> Failure {
    Failure::not_sent(Reason::Internal, "the reader's task has ended: restart the broker and report the fault")
}

pub(super) fn shutting_down() -> Failure {
    Failure::not_sent(Reason::ShuttingDown, "the broker is stopping: retry when it runs again")
}
