//! The actor's inbox: what callers tell it, what waits for a turn, and how a place or a lease is given back.

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

use super::{jobs::Job, ticket::Ticket};
use crate::{caller::group::GroupMark, policy::access::Access};

/// What callers tell the actor.
pub(super) enum Message {
    /// Someone wants a turn.
    Submit { number: queue::RequestNumber, caller: CallerKey, waiting: Waiting },
    /// Someone no longer waits, or gives a session's lease back.
    CancelSlot { number: queue::RequestNumber, manner: Manner },
}

/// A caller wants to see the turns. Not a [`Message`]: looks must not take the places of those who want a turn.
pub(super) struct Look {
    /// Who.
    pub(super) caller: CallerKey,
    /// Hears what there is to see.
    pub(super) reply: oneshot::Sender<Turns>,
}

/// What waits for its turn.
pub(super) struct Waiting {
    /// On whose behalf.
    pub(super) group: GroupMark,
    /// For what.
    pub(super) purpose: Purpose,
}

/// What a turn is wanted for.
pub(super) enum Purpose {
    /// One unit.
    Unit(Arc<Ticket>),
    /// A session.
    Session(SessionTicket),
}

impl Waiting {
    /// On what terms it waits.
    pub(super) fn turn(&self) -> &TurnRequest {
        match &self.purpose {
            Purpose::Unit(ticket) => &ticket.request.turn,
            Purpose::Session(session) => &session.request.turn,
        }
    }

    /// Its turn has come: what forbids it on a card in this insertion and state.
    pub(super) fn broken_condition(&self, insertion_id: &str, state_tag: &str) -> Option<Failure> {
        match &self.purpose {
            Purpose::Unit(ticket) => ticket.broken_condition(insertion_id, state_tag),
            Purpose::Session(session) => session.request.turn.broken_condition(insertion_id, state_tag),
        }
    }

    /// Who waits, and what he may do.
    pub(super) fn access(&self) -> &Access {
        match &self.purpose {
            Purpose::Unit(ticket) => &ticket.access,
            Purpose::Session(session) => &session.access,
        }
    }

    /// Until when it may wait.
    pub(super) fn deadline(&self) -> Instant {
        match &self.purpose {
            Purpose::Unit(ticket) => ticket.wait_deadline(),
            Purpose::Session(session) => session.arrived + session.request.turn.wait_timeout,
        }
    }

    /// What it wants a turn for.
    pub(super) fn kind(&self) -> TurnKind {
        match &self.purpose {
            Purpose::Unit(_) => TurnKind::Unit,
            Purpose::Session(_) => TurnKind::Session,
        }
    }

    /// When it came.
    pub(super) fn arrived(&self) -> Instant {
        match &self.purpose {
            Purpose::Unit(ticket) => ticket.arrived,
            Purpose::Session(session) => session.arrived,
        }
    }

    /// Ends it without its turn.
    pub(super) fn end(self, failure: Failure) {
        match self.purpose {
            Purpose::Unit(ticket) => {
                ticket.end_waiting(failure);
            }
            // An error means that nobody waits any more.
            Purpose::Session(session) => drop(session.grant.send(Err(failure))),
        }
    }
}

/// What someone asks who wants a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// On what terms it waits.
    pub turn: TurnRequest,
    /// How long it may idle while others wait.
    pub idle_timeout: Duration,
    /// What becomes of the card at its end. A session that does not end in good order leaves no card as it is.
    pub disposition: Disposition,
}

/// How a session's lease is given back.
pub(super) enum Manner {
    /// In good order. `done` hears when the card is as the session's disposition says, or will be before anyone else's
    /// turn.
    InOrder { done: oneshot::Sender<()> },
    /// Without a word.
    Abruptly,
}

/// Why the broker has ended a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOver {
    /// The reason. Its delivery is [`Delivery::NotSent`](cardbroker_core::error::Delivery::NotSent): it concerns messages that
    /// were not read.
    pub failure: Failure,
    /// The task under way will not be answered within reach: its driver hangs.
    pub hangs: bool,
}

/// A session that waits, on the actor's side.
pub(super) struct SessionTicket {
    pub(super) request: SessionRequest,
    pub(super) access: Access,
    pub(super) arrived: Instant,
    pub(super) grant: oneshot::Sender<Result<Grant, Failure>>,
    pub(super) turns_ahead: watch::Sender<usize>,
}

/// What the actor hands over when the turn has come.
pub(super) struct Grant {
    pub(super) turn: Turn,
    pub(super) card: CardInfo,
    pub(super) lease: Lease,
    pub(super) activity: Arc<Activity>,
    pub(super) jobs: SyncSender<Job>,
    pub(super) waiters: watch::Receiver<usize>,
    pub(super) over: watch::Receiver<Option<SessionOver>>,
}

/// The way to tell the actor that a place in the queue, or a lease, is given up.
pub(super) struct CancelSlot {
    reserved: Option<mpsc::OwnedPermit<Message>>,
    number: queue::RequestNumber,
}

impl CancelSlot {
    pub(super) fn new(reserved: mpsc::OwnedPermit<Message>, number: queue::RequestNumber) -> Self {
        Self { reserved: Some(reserved), number }
    }

    /// There is nothing to give up any more.
    pub(super) fn forget(&mut self) {
        self.reserved = None;
    }

    /// Says so.
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
