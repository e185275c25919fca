//! The log's own records, written with every filter, in the same form as all others.

use std::borrow::Cow;

use serde_json::Value;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::lanes::{Entry, Lane};
use crate::{config::LogFormat, policy::audit};

/// The log target of records about the log and about panics.
const TARGET: &str = "cardbroker::log";

struct Record<'a> {
    level: &'a str,
    target: &'a str,
    message: &'a str,
    fields: &'a [(&'a str, Value)],
}

/// The bytes of an entry; a gap becomes a record of this form.
pub(super) fn bytes(format: LogFormat, lane: Lane, entry: &Entry) -> Cow<'_, [u8]> {
    match entry {
        Entry::Line(line) => Cow::Borrowed(line),
        Entry::Gap(lines) => Cow::Owned(gap(format, lane, *lines).into_bytes()),
    }
}

/// Formats the record of a gap.
pub(super) fn gap(format: LogFormat, lane: Lane, lines: u64) -> String {
    let (target, lane) = match lane {
        Lane::Audit => (audit::TARGET, "audit"),
        Lane::Ordinary => (TARGET, "ordinary"),
    };
    let fields = &[("lane", lane.into()), ("lines", lines.into())];
    line(format, &Record { level: "WARN", target, message: "log lines were lost", fields })
}

/// Formats the record of a panic.
pub(super) fn panic(format: LogFormat, thread: &str, location: &str, problem: &str, backtrace: Option<&str>) -> String {
    let mut fields = vec![("thread", thread.into()), ("location", location.into()), ("problem", problem.into())];
    fields.extend(backtrace.map(|backtrace| ("backtrace", backtrace.into())));
    let fields = &fields;
    line(format, &Record { level: "ERROR", target: TARGET, message: "a thread has panicked: report the fault", fields })
}

fn line(format: LogFormat, record: &Record<'_>) -> String {
    let mut timestamp = String::new();
    // Reading the clock does not fail, and a string accepts all text.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let Record { level, target, message, fields } = record;
    match format {
        LogFormat::Text => {
            let fields: String = fields.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("{timestamp} {level:>5} {target}: {message}{fields}\n")
        }
        LogFormat::Json => {
            let fields: String = fields.iter().map(|(key, value)| format!(r#","{key}":{value}"#)).collect();
            let message = Value::from(*message);
            format!(
                r#"{{"timestamp":"{timestamp}","level":"{level}","message":{message}{fields},"target":"{target}"}}"#
            ) + "\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_same_form_as_the_others() {
        let text = gap(LogFormat::Text, Lane::Ordinary, 3);
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        assert_eq!(rest, " WARN cardbroker::log: log lines were lost lane=\"ordinary\" lines=3\n");

        let json: Value = serde_json::from_str(&gap(LogFormat::Json, Lane::Audit, 3)).unwrap();
        assert_eq!((&json["target"], &json["lines"]), (&"cardbroker::audit".into(), &3.into()));
        assert!(humantime::parse_rfc3339(json["timestamp"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn a_panic_of_several_lines_is_one_record() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = panic(format, "main", "a.rs:1", "\"a\"\nb\u{1b}[0m", Some("0: x\n1: y"));
            assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
            assert!(line.contains(r#"\"a\"\nb\u001b"#) && line.contains(r#""0: x\n1: y""#), "{line}");
        }
    }
}
