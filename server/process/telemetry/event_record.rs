//! A record of the log as an event of the Windows event log: which records become events, and how many in a time. Pure.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::journald_record::{Keys, flattened, sentence};

/// The severity of an event, and the number of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The start and the stop of the broker.
    Lifecycle,
    Warning,
    Error,
}

/// The messages of the start and the stop.
const LIFECYCLE: [&str; 3] = ["serving", "stopping", "stopped"];

/// Maximum events at once, and the time after which one more is allowed. Other programs share the event log, which
/// drops its oldest events.
const MAX_EVENTS: u32 = 60;
const REFILL_TIME: Duration = Duration::from_secs(2);

/// Converts a line of the log for programs. Only errors, warnings, the start and the stop become events: APDUs are
/// traced at a lower level.
pub(super) fn event(line: &[u8]) -> Option<(Severity, String)> {
    let whole = String::from_utf8_lossy(line);
    let Keys(keys) = serde_json::from_str(whole.trim_end()).ok()?;
    let value = |name: &str| keys.iter().find(|(key, _)| key == name).and_then(|(_, value)| Value::as_str(value));
    let severity = match value("level")? {
        "ERROR" => Severity::Error,
        "WARN" => Severity::Warning,
        "INFO" if value("message").is_some_and(|message| LIFECYCLE.contains(&message)) => Severity::Lifecycle,
        _ => return None,
    };
    let (mut message, mut target) = (Vec::new(), String::new());
    for (key, value) in flattened(keys) {
        match key.as_str() {
            "level" | "timestamp" => {}
            "target" => target = value,
            "message" => message.insert(0, (key, value)),
            _ => message.push((key, value)),
        }
    }
    Some((severity, format!("{target}: {}", sentence(&message))))
}

/// The number of events that may be written now: a bucket that fills with time.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// When `left` was last raised.
    raised: Instant,
    /// The events that were left out since the last one.
    omitted: u64,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: MAX_EVENTS, raised: now, omitted: 0 }
    }

    /// Decides about an event. Returns the number of events left out before it; `None` if it is left out, too.
    /// The start and the stop always become events.
    pub(super) fn take(&mut self, severity: Severity, now: Instant) -> Option<u64> {
        let times = now.saturating_duration_since(self.raised).as_nanos() / REFILL_TIME.as_nanos();
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        if times > 0 {
            self.left = self.left.saturating_add(times).min(MAX_EVENTS);
            self.raised = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None if severity == Severity::Lifecycle => {}
            None => {
                self.omitted += 1;
                return None;
            }
        }
        Some(std::mem::take(&mut self.omitted))
    }
}

/// The text of the event about events that were left out.
pub(super) fn omission(events: u64) -> String {
    format!("{events} warnings and errors before this one were left out, because there were too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_a_sentence_with_its_fields() {
        let denied = concat!(
            r#"{"timestamp":"2026-01-02T03:04:05.000006Z","level":"WARN","event":"denied","principal":"user 7","#,
            r#""target":"cardbroker::audit","spans":[{"name":"connection","peer":"process 12 of user 7"}]}"#,
            "\n"
        );
        let text = "cardbroker::audit: event=denied principal=\"user 7\" peer=\"process 12 of user 7\"";
        assert_eq!(event(denied.as_bytes()), Some((Severity::Warning, text.to_owned())));
    }

    #[test]
    fn only_errors_warnings_start_and_stop_are_events() {
        let of = |level: &str, message: &str| {
            let line = format!(r#"{{"level":"{level}","message":"{message}","target":"cardbroker_server"}}"#);
            event(line.as_bytes()).map(|(severity, _)| severity)
        };
        assert_eq!(of("ERROR", "m"), Some(Severity::Error));
        assert_eq!(of("WARN", "m"), Some(Severity::Warning));
        for message in LIFECYCLE {
            assert_eq!(of("INFO", message), Some(Severity::Lifecycle));
        }
        assert_eq!(of("INFO", "reader state changed"), None);
        for level in ["DEBUG", "TRACE"] {
            assert_eq!(of(level, "stopped"), None, "the level of traces");
        }
        assert_eq!(event(b"no JSON\n"), None);
    }

    #[test]
    fn a_flood_is_counted_and_ends_with_its_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = (0..1_000).filter(|_| allowance.take(Severity::Warning, start).is_some()).count();
        assert_eq!(taken, MAX_EVENTS as usize);
        assert_eq!(allowance.take(Severity::Lifecycle, start), Some(940), "the stop, with the count");
        assert!(omission(940).starts_with("940 warnings and errors"));
        assert_eq!(allowance.take(Severity::Error, start), None);
        assert_eq!(allowance.take(Severity::Error, start + REFILL_TIME), Some(1));
        assert_eq!(allowance.take(Severity::Error, start + REFILL_TIME), None);
        let later = start + REFILL_TIME * 100_000;
        let taken = (0..1_000).filter(|_| allowance.take(Severity::Warning, later).is_some()).count();
        assert_eq!(taken, MAX_EVENTS as usize, "a long silence allows no longer flood");
    }
}
