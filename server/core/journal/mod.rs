//! The journal of one reader: counters, the progress of the turn, the last incidents and the flight recorder.
//! Everything that an operator sees of the reader's past comes from the same events, recorded once.

mod class;
mod counters;
mod event;
mod feed;
mod filter;
mod histogram;
mod incidents;
mod recorder;
mod shown;
mod traceparent;

use std::time::Instant;

pub use self::{
    class::{CommandClass, CommandEnd},
    counters::Counters,
    event::{CommandFacts, Event, EventKind, Origin, Sent, TraceKind, TurnEnd},
    feed::{Batch, Feed},
    filter::{CallerFilter, TraceFilter, TraceLevel},
    histogram::Histogram,
    incidents::{Incident, IncidentKind, Incidents, MAX_INCIDENTS},
    recorder::{CAPACITY as MAX_RECORDED, Recorded, Recorder},
    shown::{ApplicationId, CommandView, ExchangeMask, ROUNDED_TO, ShownData, ShownRules, ShownWord},
    traceparent::traceparent,
};

/// The journal of one reader.
#[derive(Debug, Default)]
pub struct Journal {
    /// The number of the last recorded event.
    last_number: u64,
    counters: Counters,
    incidents: Incidents,
    progress: Progress,
    recorder: Recorder,
}

/// The commands of the turn that began last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The number of commands that the card has answered, without continuations.
    pub done: u32,
    /// The class of the last command, and how it ended; `None` for the end while it runs.
    pub last: Option<(CommandClass, Option<CommandEnd>)>,
}

impl Journal {
    /// Creates the journal of a reader at which nothing has happened, with its flight recorder.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            last_number: 0,
            counters: Counters::default(),
            incidents: Incidents::default(),
            progress: Progress::default(),
            recorder,
        }
    }

    /// Records that the card thread sends a command of this class now.
    pub fn on_command(&mut self, class: CommandClass) {
        self.progress.last = Some((class, None));
    }

    /// Records an event, and returns its number.
    pub fn record(&mut self, event: &Event) -> u64 {
        self.last_number += 1;
        self.counters.count(event);
        self.incidents.note(event);
        match &event.kind {
            EventKind::TurnBegan { .. } => self.progress = Progress::default(),
            EventKind::Command(command) => {
                self.progress.last = Some((command.class, Some(command.end)));
                let is_answered = command.end != CommandEnd::Failed && !command.is_continuation;
                self.progress.done += u32::from(is_answered);
            }
            _ => {}
        }
        self.recorder.record(self.last_number, event);
        self.last_number
    }

    /// Forgets the recorded events that are too old.
    pub fn expire(&mut self, now: Instant) {
        self.recorder.expire(now);
    }

    /// The flight recorder with the last events.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The counters of this run.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The commands of the turn that began last.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The last incidents, the latest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter()
    }

    /// Records something that is no event of a trace.
    pub fn incident(&mut self, kind: IncidentKind, message: &str, now: Instant) {
        self.incidents.push(Incident::new(kind, message, now));
    }
}

#[cfg(test)]
mod tests;
