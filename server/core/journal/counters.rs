//! The counters of a reader, which only grow.

use super::{CommandEnd, Event, EventKind, Histogram};

/// The counters of a reader in this run of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Units that got their turn, without those in sessions.
    pub units: u64,
    /// Sessions that got their turn.
    pub sessions: u64,
    /// Commands that were sent, with continuations.
    pub commands: u64,
    /// Commands that the card did not answer.
    pub failed_commands: u64,
    /// Resets of the card by the broker.
    pub resets: u64,
    /// Insertions of cards that could be used.
    pub insertions: u64,
    /// Requests and commands that the policy denied.
    pub denied: u64,
    /// Requests that waited in vain or could not wait.
    pub not_served: u64,
    /// Turns that operators have ended.
    pub released: u64,
    /// The times of the calls of the driver for commands. Those of commands with secrets are rounded up.
    pub card_times: Histogram,
    /// The waiting times of all turns.
    pub wait_times: Histogram,
    /// The durations of all turns that have ended.
    pub turn_times: Histogram,
}

impl Counters {
    /// Counts an event in the counters that it concerns.
    pub(super) fn count(&mut self, event: &Event) {
        match &event.kind {
            EventKind::TurnBegan { is_session, waited, .. } => {
                let turns = if *is_session { &mut self.sessions } else { &mut self.units };
                *turns += 1;
                self.wait_times.observe(*waited);
            }
            EventKind::Command(command) => {
                self.commands += 1;
                self.failed_commands += u64::from(command.end == CommandEnd::Failed);
                self.card_times.observe(command.view.duration);
            }
            EventKind::Reset { .. } => self.resets += 1,
            EventKind::Inserted { .. } => self.insertions += 1,
            EventKind::Denied { .. } => self.denied += 1,
            EventKind::NotServed { .. } => self.not_served += 1,
            EventKind::Released { .. } => self.released += 1,
            EventKind::TurnEnded { held, .. } => self.turn_times.observe(*held),
            EventKind::Removed => {}
        }
    }
}
