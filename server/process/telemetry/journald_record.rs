//! A record of the log in the native form of journald: a datagram of fields.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::text;
use crate::config::LogFormat;

/// Maximum bytes of one value, and of a record: the rest is cut or left out, so that every record fits into a datagram.
const MAX_VALUE_BYTES: usize = 16 << 10;
const MAX_BYTES: usize = 60 << 10;

/// Maximum fields of one record.
const MAX_FIELDS: usize = 48;

/// The longest name of a field that journald takes.
const MAX_NAME_BYTES: usize = 64;

/// The beginning of the names of Cardbroker's own fields.
const PREFIX: &str = "CARDBROKER_";

/// The keys of a record, in its order.
pub(super) struct Keys(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a record of the log")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Converts a line of the log for programs. Its message has the `form` of the configuration, but in text neither time
/// nor level nor target, which are fields.
pub(super) fn datagram(line: &[u8], form: LogFormat) -> Vec<u8> {
    let whole = String::from_utf8_lossy(line);
    let whole = whole.trim_end_matches('\n');
    let mut fields = vec![("SYSLOG_IDENTIFIER".to_owned(), "cardbrokerd".to_owned())];
    let Ok(Keys(keys)) = serde_json::from_str::<Keys>(whole) else {
        fields.push(("MESSAGE".to_owned(), whole.to_owned()));
        return encode(&fields);
    };
    let mut message = Vec::new();
    for (key, value) in flattened(keys) {
        match key.as_str() {
            "level" => fields.push(("PRIORITY".to_owned(), priority(&value).to_owned())),
            "timestamp" | "target" => fields.push((name(&key), value)),
            "message" => message.insert(0, (key, value)),
            _ => {
                fields.push((name(&key), value.clone()));
                message.push((key, value));
            }
        }
    }
    let message = match form {
        LogFormat::Json => whole.to_owned(),
        LogFormat::Text => sentence(&message),
    };
    fields.insert(0, ("MESSAGE".to_owned(), message));
    encode(&fields)
}

/// The keys with their values as text, those of spans behind the others.
pub(super) fn flattened(keys: Vec<(String, Value)>) -> Vec<(String, String)> {
    let (mut own, mut of_spans) = (Vec::new(), Vec::new());
    for (key, value) in keys {
        match value {
            Value::Array(spans) if key == "spans" => {
                let inner = spans.into_iter().filter_map(|span| match span {
                    Value::Object(keys) => Some(keys),
                    _ => None,
                });
                // The innermost first: its keys count.
                of_spans.extend(inner.rev().flatten().filter(|(key, _)| key != "name"));
            }
            // The innermost of the spans.
            Value::Object(_) if key == "span" => {}
            value => own.push((key, value)),
        }
    }
    for (key, value) in of_spans {
        if own.iter().all(|(known, _)| *known != key) {
            own.push((key, value));
        }
    }
    own.into_iter().take(MAX_FIELDS).map(|(key, value)| (key, as_text(value))).collect()
}

fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// The message, and the fields behind it.
pub(super) fn sentence(keys: &[(String, String)]) -> String {
    let mut text = String::new();
    for (index, (key, value)) in keys.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        // A string accepts all text.
        let _ = text::write_field(&mut text, key, value);
    }
    text
}

/// Journald's number of a level, as in syslog.
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// The name of a field, of capital letters, digits and underscores only.
fn name(key: &str) -> String {
    let letters =
        key.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' });
    PREFIX.chars().chain(letters).take(MAX_NAME_BYTES).collect()
}

/// A value with a line break has its length in front, in 64 bits, the lowest byte first.
fn encode(fields: &[(String, String)]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for (name, value) in fields {
        let value = cut(value);
        if datagram.len() + name.len() + value.len() > MAX_BYTES {
            continue;
        }
        datagram.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            datagram.push(b'\n');
            datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            datagram.push(b'=');
        }
        datagram.extend_from_slice(value.as_bytes());
        datagram.push(b'\n');
    }
    datagram
}

fn cut(value: &str) -> &str {
    let end = (0..=MAX_VALUE_BYTES.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, form: LogFormat) -> String {
        String::from_utf8(datagram(line.as_bytes(), form)).unwrap()
    }

    const DENIED: &str = concat!(
        r#"{"timestamp":"2026-01-02T03:04:05.000006Z","level":"WARN","event":"denied","principal":"user 7","pid":12,"#,
        r#""target":"cardbroker::audit","spans":[{"name":"connection","peer":"process 12 of user 7"}]}"#,
    );

    #[test]
    fn a_record_is_a_sentence_with_its_fields() {
        assert_eq!(
            told(&format!("{DENIED}\n"), LogFormat::Text),
            "MESSAGE=event=denied principal=\"user 7\" pid=12 peer=\"process 12 of user 7\"\n\
             SYSLOG_IDENTIFIER=cardbrokerd\n\
             CARDBROKER_TIMESTAMP=2026-01-02T03:04:05.000006Z\n\
             PRIORITY=4\n\
             CARDBROKER_EVENT=denied\n\
             CARDBROKER_PRINCIPAL=user 7\n\
             CARDBROKER_PID=12\n\
             CARDBROKER_TARGET=cardbroker::audit\n\
             CARDBROKER_PEER=process 12 of user 7\n"
        );
        let json = told(DENIED, LogFormat::Json);
        assert!(json.starts_with(&format!("MESSAGE={DENIED}\n")) && json.contains("\nPRIORITY=4\n"), "{json}");
    }

    #[test]
    fn each_level_has_its_priority() {
        for (level, priority) in [("ERROR", 3), ("WARN", 4), ("INFO", 6), ("DEBUG", 7), ("TRACE", 7)] {
            let record = told(&format!(r#"{{"level":"{level}","message":"m"}}"#), LogFormat::Text);
            assert_eq!(record, format!("MESSAGE=m\nSYSLOG_IDENTIFIER=cardbrokerd\nPRIORITY={priority}\n"));
        }
    }

    #[test]
    fn a_value_cannot_forge_a_field() {
        let bytes = datagram(br#"{"level":"INFO","message":"m","x.y":"a\nPRIORITY=0"}"#, LogFormat::Text);
        let field = [&b"CARDBROKER_X_Y\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"[..]].concat();
        assert!(bytes.ends_with(&field), "{}", bytes.escape_ascii());
        assert!(bytes.starts_with(b"MESSAGE=m x.y=\"a\\nPRIORITY=0\"\n"), "{}", bytes.escape_ascii());
    }

    #[test]
    fn every_record_fits_into_a_datagram() {
        let long = "\u{e9}".repeat(1 << 20);
        let fields: String = (0..100).map(|number| format!(r#","k{number}":"v""#)).collect();
        let bytes = datagram(format!(r#"{{"message":"{long}","a":"{long}"{fields}}}"#).as_bytes(), LogFormat::Text);
        assert!(bytes.len() < 64 << 10, "{}", bytes.len());
        assert_eq!(told("no JSON\n", LogFormat::Text), "SYSLOG_IDENTIFIER=cardbrokerd\nMESSAGE=no JSON\n");
        assert_eq!(name(&"x".repeat(100)).len(), MAX_NAME_BYTES);
    }
}
