//! Which permission shows which field of the diagnostics: a table of all fields that the broker sends, so that a new
//! field gets its permission on purpose.

use std::collections::BTreeMap;

use cardbroker_proto::DESCRIPTORS;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

const PACKAGE: &str = "cardbroker.diagnostics.v1";

/// The permission without which a field is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Diagnose,
    Trace,
    TraceData,
}

use Level::{Diagnose, Trace, TraceData};

/// A field with another level than its message.
type Other = (&'static str, Level);

/// Each message that the broker sends, with the level of all its fields, and the fields with another level.
const TABLE: &[(&str, Level, &[Other])] = &[
    ("BrokerStatus", Diagnose, &[]),
    ("Caller", Diagnose, &[]),
    ("CardInserted", Trace, &[]),
    ("CardRemoved", Trace, &[]),
    ("CommandEvent", Trace, &[("command", TraceData), ("response", TraceData)]),
    ("ConnectionCount", Diagnose, &[]),
    ("DenialEvent", Trace, &[]),
    ("DriverCall", Diagnose, &[]),
    ("Holder", Diagnose, &[]),
    ("Incident", Diagnose, &[]),
    ("LastCommand", Diagnose, &[]),
    ("Listener", Diagnose, &[]),
    ("NotServedEvent", Trace, &[]),
    ("PcscStatus", Diagnose, &[]),
    ("ReaderCounters", Diagnose, &[]),
    ("ReaderStatus", Diagnose, &[]),
    ("Reload", Diagnose, &[]),
    ("ResetEvent", Trace, &[]),
    ("Status", Diagnose, &[]),
    ("TraceEvent", Trace, &[]),
    ("Tracer", Diagnose, &[]),
    ("TurnBegan", Trace, &[]),
    ("TurnEnded", Trace, &[]),
    ("Waiter", Diagnose, &[]),
];

/// The responses of the methods that need no more than a permission of their own.
const RESPONSES: &[(&str, Level)] =
    &[("GetStatusResponse", Diagnose), ("WatchStatusResponse", Diagnose), ("TraceResponse", Trace)];

/// Parts of names that no field may have, whatever the permission.
const NEVER: &[&str] = &["token", "key", "request_id", "environment", "arguments", "pin", "secret", "bytes", "size"];

/// The fields that hold what a card or its client has said.
const SAID: &[&str] = &["header", "expected_length", "application", "status_word", "command", "response"];

fn level(message: &str, field: &str) -> Option<Level> {
    let (_, level, others) = TABLE.iter().find(|(name, ..)| *name == message)?;
    Some(others.iter().find(|(name, _)| *name == field).map_or(*level, |(_, level)| *level))
}

/// Visits all fields that a message can carry, with the level of the message that carries them.
fn walk(message: &MessageDescriptor, at: Level, seen: &mut BTreeMap<String, Level>) {
    for field in message.fields() {
        let name = format!("{}.{}", message.name(), field.name());
        let level = if RESPONSES.iter().any(|(response, _)| *response == message.name()) {
            at
        } else {
            level(message.name(), field.name()).unwrap_or_else(|| panic!("{name} is not in the table"))
        };
        assert!(!NEVER.iter().any(|part| field.name().contains(part)), "{name}: nobody may see that");
        assert!(!SAID.contains(&field.name()) || level > Diagnose, "{name} is shown to everybody who may diagnose");
        assert!(at >= Trace || level == Diagnose, "{name} is part of a message for {at:?}");
        let is_new = seen.insert(name, level).is_none();
        if let Kind::Message(inner) = field.kind()
            && inner.package_name() == PACKAGE
            && is_new
        {
            walk(&inner, at, seen);
        }
    }
}

#[test]
fn every_field_of_the_diagnostics_has_its_permission() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut seen = BTreeMap::new();
    for (response, at) in RESPONSES {
        let message = pool.get_message_by_name(&format!("{PACKAGE}.{response}")).unwrap();
        walk(&message, *at, &mut seen);
    }
    for (message, _, others) in TABLE {
        let message = pool.get_message_by_name(&format!("{PACKAGE}.{message}")).unwrap();
        let is_reached = seen.keys().any(|name| name.starts_with(&format!("{}.", message.name())));
        assert!(is_reached || message.fields().len() == 0, "no response carries a {}", message.name());
        for (field, _) in *others {
            assert!(message.get_field_by_name(field).is_some(), "{}.{field} is gone", message.name());
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
    assert_eq!(seen.values().filter(|level| **level == TraceData).count(), 2);
}
