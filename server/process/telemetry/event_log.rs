//! The Windows event log as the sink of the log of a service: warnings, errors, the start and the stop.

use std::time::Instant;

use cardbroker_pipe::{EventKind, EventSource};

use super::{
    event_record::{Allowance, Severity, event, omission},
    lanes::{Entry, Lane},
    record,
    sink::Sink,
};
use crate::config::LogFormat;

/// The name of the source of events.
pub(crate) const EVENT_SOURCE: &str = "cardbroker";

/// The event log of this machine.
pub(super) struct EventLog {
    source: EventSource,
    allowance: Allowance,
}

impl EventLog {
    /// Opens the event log if this process is a service. Without it the log goes to standard error, which no service
    /// has.
    pub(super) fn of_service() -> Option<Self> {
        crate::process::windows_service::current()?;
        Some(Self { source: EventSource::open(EVENT_SOURCE).ok()?, allowance: Allowance::new(Instant::now()) })
    }

    /// Writes an event about the end of the process.
    pub(super) fn report(&self, problem: &str) {
        // The exit code remains.
        let _ = self.tell(Severity::Error, problem);
    }

    fn tell(&self, severity: Severity, text: &str) -> std::io::Result<()> {
        let (kind, number) = match severity {
            Severity::Lifecycle => (EventKind::Information, 1),
            Severity::Warning => (EventKind::Warning, 2),
            Severity::Error => (EventKind::Error, 3),
        };
        self.source.report(kind, number, text)
    }

    fn take(&mut self, lane: Lane, entry: &Entry) -> std::io::Result<()> {
        let Some((severity, text)) = event(&record::bytes(LogFormat::Json, lane, entry)) else { return Ok(()) };
        let Some(omitted) = self.allowance.take(severity, Instant::now()) else { return Ok(()) };
        if omitted > 0 {
            self.tell(Severity::Warning, &omission(omitted))?;
        }
        self.tell(severity, &text)
    }
}

impl Sink for EventLog {
    /// The records are lines for programs. One that becomes no event counts as written.
    fn write(&mut self, batch: &[(Lane, Entry)]) -> usize {
        batch.iter().take_while(|(lane, entry)| self.take(*lane, entry).is_ok()).count()
    }
}
