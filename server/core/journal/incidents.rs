//! The last incidents of a reader: what an operator may want to know afterwards.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Event, EventKind, Origin, TurnEnd};
use crate::error::Reason;

/// The number of incidents that a reader keeps.
pub const MAX_INCIDENTS: usize = 16;

/// The most bytes of a message.
const MAX_MESSAGE_BYTES: usize = 256;

/// Something that an operator may want to know afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// When it happened for the last time.
    pub at: Instant,
    /// How often it happened while it was kept.
    pub count: u32,
    /// The kind of the incident, for people and programs.
    pub kind: IncidentKind,
    /// Why, if the contract has a reason for it.
    pub reason: Option<Reason>,
    /// The broker's words for people, at most 256 bytes.
    pub message: String,
    /// The request behind it the first time, if there was one.
    pub origin: Option<Arc<Origin>>,
}

/// The kinds of incidents that a reader keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// The policy has denied a request.
    Denied,
    /// A unit or a session failed or ended before its time.
    TurnFailed,
    /// A request was not served.
    NotServed,
    /// An operator has ended a turn.
    Released,
    /// A call of the driver did not return in time, or returned after all.
    Driver,
    /// The reader's state changed to one in which it is not usable.
    Reader,
}

impl Incident {
    /// An incident without a request.
    pub(super) fn new(kind: IncidentKind, message: &str, at: Instant) -> Self {
        let mut ends = (0..=message.len().min(MAX_MESSAGE_BYTES)).rev();
        let end = ends.find(|end| message.is_char_boundary(*end)).unwrap_or_default();
        Self { at, count: 1, kind, reason: None, message: message[..end].to_owned(), origin: None }
    }

    /// The incident that an event is, if it is one.
    fn of(event: &Event) -> Option<Self> {
        let (kind, reason, message) = match &event.kind {
            EventKind::Denied { operation, rule } => {
                let message = format!("{} is denied by rule \"{rule}\"", operation.as_str());
                (IncidentKind::Denied, Some(Reason::Denied), message)
            }
            EventKind::TurnEnded { end: TurnEnd::Failed(reason), .. } if is_incident(*reason) => {
                (IncidentKind::TurnFailed, Some(*reason), "the turn ended before its time".to_owned())
            }
            EventKind::NotServed { reason: Some(reason) } if is_incident(*reason) => {
                (IncidentKind::NotServed, Some(*reason), "a waiting request got no turn".to_owned())
            }
            EventKind::Released { by, reason } => {
                let reason = if reason.is_empty() { "no reason given" } else { &**reason };
                (IncidentKind::Released, None, format!("released by {}: {reason}", by.caller))
            }
            _ => return None,
        };
        let incident = Self::new(kind, &message, event.at);
        Some(Self { reason, origin: event.origin.clone(), ..incident })
    }

    /// Whether two incidents differ in nothing but time and process.
    fn repeats(&self, other: &Self) -> bool {
        let who = |one: &Self| one.origin.as_ref().map(|origin| origin.caller.principal());
        (self.kind, self.reason, &self.message) == (other.kind, other.reason, &other.message) && who(self) == who(other)
    }
}

/// Whether a failure of this reason is an incident of its own. Status words are the business of programs, and a denial
/// has its event.
fn is_incident(reason: Reason) -> bool {
    !matches!(reason, Reason::StatusWord | Reason::Denied)
}

/// The last incidents, the latest first. One that repeats a kept one is counted with it, so that a program in a loop
/// does not push out the others.
#[derive(Debug, Default)]
pub struct Incidents(VecDeque<Incident>);

impl Incidents {
    /// Keeps the incident that an event is, if it is one.
    pub(super) fn note(&mut self, event: &Event) {
        if let Some(incident) = Incident::of(event) {
            self.push(incident);
        }
    }

    /// Keeps an incident, and forgets the oldest one if there are too many.
    pub(super) fn push(&mut self, incident: Incident) {
        let kept = self.0.iter().position(|kept| kept.repeats(&incident)).and_then(|index| self.0.remove(index));
        let count = kept.as_ref().map_or(0, |kept| kept.count).saturating_add(1);
        self.0.push_front(Incident { at: incident.at, count, ..kept.unwrap_or(incident) });
        self.0.truncate(MAX_INCIDENTS);
    }

    /// The incidents, the latest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.0.iter()
    }
}
