//! The actor's inbox: the messages of callers, the requests that wait for a turn, and the way to give one up.

use std::{
    sync::Arc,
    sync::mpsc::SyncSender,
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::CallerKey,
    error::{Failure, Reason},
    slot::CardInfo,
    turns::{
        lease::{Activity, Lease},
        queue,
        turn::{Disposition, Turn, TurnRequest},
        waiting::{TurnKind, Turns},
    },
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    jobs::Job,
    spans::{End, SessionRecord},
    ticket::Ticket,
};
use crate::{caller::group::GroupMark, policy::access::Access};

/// A message of a caller to the actor.
pub(super) enum Message {
    /// A caller asks for a turn.
    Submit {
        /// Names the request among all of this reader.
        number: queue::RequestNumber,
        /// The caller, in whose round the request waits.
        caller: CallerKey,
        /// The request itself.
        waiting: Waiting,
    },
    /// A caller no longer waits, or gives a session's lease back.
    CancelSlot {
        /// The number of the request or session.
        number: queue::RequestNumber,
        /// How a session ends by it.
        manner: Manner,
    },
}

/// A question for the turns. Not a [`Message`]: looks must not take the places of requests.
pub(super) struct Look {
    /// The caller, whose own requests are shown.
    pub(super) caller: CallerKey,
    /// Takes the answer. Dropped without one if the actor has ended.
    pub(super) reply: oneshot::Sender<Turns>,
}

/// A request that waits for its turn. Made by the reader's handle, owned by the actor's queue. To be ended with
/// [`Waiting::end`]: only dropped, it leaves its caller with an internal failure.
pub(super) struct Waiting {
    /// The isolation group that its commands belong to.
    pub(super) group: GroupMark,
    /// The use of the turn.
    pub(super) purpose: Purpose,
}

/// The use of a turn.
pub(super) enum Purpose {
    /// One unit, whose caller holds its ticket too.
    Unit(UnitTicket),
    /// A session, whose caller holds the other end.
    Session(Box<SessionTicket>),
}

impl Waiting {
    /// The terms on which it waits.
    pub(super) fn turn(&self) -> &TurnRequest {
        match &self.purpose {
            Purpose::Unit(unit) => &unit.turn,
            Purpose::Session(session) => &session.request.turn,
        }
    }

    /// Its turn has come: what forbids it on a card in this insertion and state.
    pub(super) fn broken_condition(&self, insertion_id: &str, state_tag: &str) -> Option<Failure> {
        match &self.purpose {
            Purpose::Unit(unit) => unit.ticket.broken_condition(insertion_id, state_tag),
            Purpose::Session(session) => session.request.turn.broken_condition(insertion_id, state_tag),
        }
    }

    /// The caller, and what it may do.
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

    /// The kind of turn, for looks.
    pub(super) fn kind(&self) -> TurnKind {
        match &self.purpose {
            Purpose::Unit(_) => TurnKind::Unit,
            Purpose::Session(_) => TurnKind::Session,
        }
    }

    /// When the reader's handle took it.
    pub(super) fn arrived(&self) -> Instant {
        match &self.purpose {
            Purpose::Unit(unit) => unit.ticket.arrived,
            Purpose::Session(session) => session.arrived,
        }
    }

    /// Ends it without its turn; its caller gets `failure`.
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
    /// The terms on which it waits.
    pub turn: TurnRequest,
    /// How long it may idle while others wait.
    pub idle_timeout: Duration,
    /// How it leaves the card. A session that does not end in good order leaves no card as it is.
    pub disposition: Disposition,
}

/// How a session's lease is given back.
pub(super) enum Manner {
    /// In good order: its holder has said that it wants nothing more.
    InOrder {
        /// Told when the card is as the session's disposition says, or will be before anyone else's turn.
        done: oneshot::Sender<()>,
    },
    /// Its holder has gone.
    Abruptly,
}

/// Why the broker has ended a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOver {
    /// The reason. Its delivery is [`Delivery::NotSent`](cardbroker_core::error::Delivery::NotSent): it concerns messages that
    /// were not read.
    pub failure: Failure,
    /// The driver hangs in the task under way, which gets no answer in time.
    pub hangs: bool,
}

/// A unit that waits, on the actor's side. The caller's side is [`Submission`](super::Submission).
pub(super) struct UnitTicket {
    /// The unit, which its caller holds too, and the card thread once the turn has come.
    pub(super) ticket: Arc<Ticket>,
    /// The terms on which it waits. The ticket has a copy, which repeats of the request add to.
    pub(super) turn: TurnRequest,
    /// How it leaves the card.
    pub(super) disposition: Disposition,
}

/// A session that waits, on the actor's side. The caller's side is [`Opening`](super::session::Opening).
pub(super) struct SessionTicket {
    /// The request as the caller made it.
    pub(super) request: SessionRequest,
    /// The caller, and what it may do. The actor asks again when the turn has come.
    pub(super) access: Access,
    /// When the reader's handle took the request.
    pub(super) arrived: Instant,
    /// To the caller: the turn, or why there is none. Dropped without a word, it is an internal failure there.
    pub(super) grant: oneshot::Sender<Result<Grant, Failure>>,
    /// To the caller: the number of turns before its own. The actor writes it while the request waits.
    pub(super) turns_ahead: watch::Sender<usize>,
    /// The session's place in the log. Dropped with the request, it says that the caller has gone.
    pub(super) record: SessionRecord,
}

impl SessionTicket {
    /// Ends the request without a turn; its caller gets `failure`.
    pub(super) fn refuse(self, failure: Failure) {
        let Self { grant, mut record, .. } = self;
        record.end(End::Failed(failure.reason));
        // An error means that nobody waits any more.
        let _ = grant.send(Err(failure));
    }
}

/// A session's turn: made by the actor, owned by the session until its end.
pub(super) struct Grant {
    /// The turn, for responses.
    pub(super) turn: Turn,
    /// The card at the beginning of the turn.
    pub(super) card: CardInfo,
    /// The right to send. The actor ends it; a clone goes with each task.
    pub(super) lease: Lease,
    /// Whether a task is under way. The session and the card thread write it, the actor reads it.
    pub(super) activity: Arc<Activity>,
    /// The way to the card thread, past the actor. The thread cannot end while the session keeps it.
    pub(super) jobs: SyncSender<Job>,
    /// The number of callers that wait. The actor writes it.
    pub(super) waiters: watch::Receiver<usize>,
    /// Why the broker has ended the session. The actor writes it, a second time if the driver hangs after that.
    pub(super) over: watch::Receiver<Option<SessionOver>>,
}

/// The way to tell the actor that a place in the queue, or a lease, is given up. Dropping it gives up.
pub(super) struct CancelSlot {
    /// A place in the inbox, reserved with the request. `None` once it was used, or nothing is left to give up.
    reserved: Option<mpsc::OwnedPermit<Message>>,
    /// The number of the request or session.
    number: queue::RequestNumber,
}

impl CancelSlot {
    pub(super) fn new(reserved: mpsc::OwnedPermit<Message>, number: queue::RequestNumber) -> Self {
        Self { reserved: Some(reserved), number }
    }

    /// The request has ended by itself: nothing is left to give up.
    pub(super) fn forget(&mut self) {
        self.reserved = None;
    }

    /// Gives up, once. No effect after that.
    pub(super) fn send(&mut self, manner: Manner) {
        if let Some(reserved) = self.reserved.take() {
            reserved.send(Message::CancelSlot { number: self.number, manner });
        }
    }
}

impl Drop for CancelSlot {
    fn drop(&mut self) {
        self.send(Manner::Abruptly);
    }
}

pub(super) fn shutting_down() -> Failure {
    Failure::not_sent(Reason::ShuttingDown, "the broker is stopping: retry when it runs again")
}
