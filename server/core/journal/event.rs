//! The events at a reader, as the journal records them and a trace shows them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CommandClass, CommandEnd,
    shown::{CommandView, ExchangeMask, ShownData},
};
use crate::{
    caller::Caller,
    error::{Failure, Reason},
    policy::rule::Operation,
    slot::{Protocol, ResetKind},
    turns::{isolation::GroupId, lease::LeaseNumber},
};

/// The request behind an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The caller that sent the request.
    pub caller: Caller,
    /// Its isolation group; `None` if the request is a group by itself.
    pub group: Option<GroupId>,
    /// The trace context that it carried (`traceparent`), if any: 55 characters.
    pub traceparent: Option<Arc<str>>,
}

/// Something that happened at a reader.
#[derive(Debug, Clone)]
pub struct Event {
    /// When: for a command and a reset, when it began.
    pub at: Instant,
    /// The request behind it; `None` for what the broker does by itself.
    pub origin: Option<Arc<Origin>>,
    /// The lease that it belongs to; `None` outside of turns.
    pub lease: Option<LeaseNumber>,
    /// The kind of the event, with its facts.
    pub kind: EventKind,
}

/// The kinds of events, each with its facts.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The turn of a request began.
    TurnBegan {
        /// Whether it is a session; otherwise it is a unit.
        is_session: bool,
        /// The number of commands of the unit; 0 for a session.
        commands: u32,
        /// The time from the arrival of the request.
        waited: Duration,
    },
    /// The turn of a request ended.
    TurnEnded {
        /// How the turn ended, and why.
        end: TurnEnd,
        /// The duration of the turn, with its resets.
        held: Duration,
    },
    /// A command was sent and was answered, or not.
    Command(CommandFacts),
    /// The broker has reset the card.
    Reset {
        /// Whether it was a warm or a cold reset.
        kind: ResetKind,
        /// Whether the card answered the reset.
        answered: bool,
        /// The duration of the call of the driver.
        took: Duration,
    },
    /// The broker has acquired a card that it had not before.
    Inserted {
        /// The name of the insertion.
        insertion_id: String,
        /// The card's answer to reset.
        atr: Vec<u8>,
        /// The protocol in use, if there is one.
        protocol: Option<Protocol>,
    },
    /// The card is gone, or counts as another one.
    Removed,
    /// The policy has denied a request or a command.
    Denied {
        /// The operation that the policy denies.
        operation: Operation,
        /// The name of the rule.
        rule: Arc<str>,
    },
    /// A request has waited in vain, or could not wait.
    NotServed {
        /// Why; `None` if its caller has cancelled it.
        reason: Option<Reason>,
    },
    /// An operator has ended the turn of the request behind the event.
    Released {
        /// The operator who has ended the turn.
        by: Arc<Origin>,
        /// The operator's words, printable; may be empty.
        reason: Arc<str>,
    },
}

/// The kinds of events that a trace shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceKind {
    /// The begin and the end of turns.
    Turn,
    /// Commands, with continuations by the broker.
    Command,
    /// Resets of the card by the broker.
    Reset,
    /// Insertions and removals of cards.
    Insertion,
    /// Requests that the policy has denied.
    Denial,
    /// Requests that got no turn.
    NotServed,
}

impl Event {
    /// The kind by which traces select it; `None` if no trace shows it.
    pub fn trace_kind(&self) -> Option<TraceKind> {
        Some(match self.kind {
            EventKind::TurnBegan { .. } | EventKind::TurnEnded { .. } => TraceKind::Turn,
            EventKind::Command(_) => TraceKind::Command,
            EventKind::Reset { .. } => TraceKind::Reset,
            EventKind::Inserted { .. } | EventKind::Removed => TraceKind::Insertion,
            EventKind::Denied { .. } => TraceKind::Denial,
            EventKind::NotServed { .. } => TraceKind::NotServed,
            EventKind::Released { .. } => return None,
        })
    }

    /// The event without the bytes of a command.
    pub fn without_data(&self) -> Self {
        let mut event = self.clone();
        if let EventKind::Command(command) = &mut event.kind {
            command.data = None;
        }
        event
    }

    /// The number of bytes that it keeps in memory, about.
    pub fn weight(&self) -> usize {
        let more = match &self.kind {
            EventKind::Command(CommandFacts { data: Some(data), .. }) => {
                data.command.len() + data.response.as_ref().map_or(0, |response| response.len())
            }
            EventKind::Inserted { insertion_id, atr, .. } => insertion_id.len() + atr.len(),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

/// How a unit or session ended, or its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// It ended as its caller wanted.
    Ok,
    /// Its caller has disconnected, or its session has ended.
    Abandoned,
    /// Before its time, for this reason.
    Failed(Reason),
}

impl TurnEnd {
    /// The end of a unit that this failure has stopped, if any has.
    pub fn of(failure: Option<&Failure>) -> Self {
        failure.map_or(Self::Ok, |failure| Self::Failed(failure.reason))
    }

    /// The end as logs write it: `ok`, `abandoned`, or the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Abandoned => "abandoned",
            Self::Failed(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for TurnEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A command as the card thread has sent it. Has no `Debug`: it may contain a PIN.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// Which command of the unit or session, counted from 1.
    pub index: u32,
    /// Whether the broker sent it by itself, to complete the answer of that command.
    pub is_continuation: bool,
    /// The bytes that the card received.
    pub command: &'a [u8],
    /// The card's response; `None` if it did not answer.
    pub response: Option<&'a [u8]>,
    /// The duration of the call of the driver.
    pub took: Duration,
}

/// The facts about a command that was sent.
#[derive(Debug, Clone)]
pub struct CommandFacts {
    /// Which command of the unit or session, counted from 1.
    pub index: u32,
    /// Whether the broker sent it by itself, to complete the answer of that command.
    pub is_continuation: bool,
    /// Its class, by the instruction and CLA.
    pub class: CommandClass,
    /// How it ended, by its status word.
    pub end: CommandEnd,
    /// The part that operators see with the permission `trace`.
    pub view: CommandView,
    /// Its bytes, if they were wanted and may be shown.
    pub data: Option<Arc<ShownData>>,
}

impl CommandFacts {
    /// The facts of a command that was sent, the next one of the reader that `mask` belongs to. They contain its bytes
    /// if they are wanted and may be shown.
    pub fn of(sent: Sent<'_>, mask: &mut ExchangeMask, wants_data: bool) -> Self {
        let Sent { index, is_continuation, command, response, .. } = sent;
        let end = response.map_or(CommandEnd::Failed, CommandEnd::of_response);
        let (view, data) = mask.next(sent, wants_data);
        let (class, data) = (CommandClass::of(command), data.map(Arc::new));
        Self { index, is_continuation, class, end, view, data }
    }
}
