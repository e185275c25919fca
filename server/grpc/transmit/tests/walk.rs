//! Every field of a request, changed one by one through the descriptor: under a `request_id` the change is detected, or
//! refused, or listed here with the reason.

use std::collections::BTreeSet;

use cardbroker_core::{error::Reason, outcomes::OutcomeLimits};
use cardbroker_proto::{DESCRIPTORS, v1::StatusWordPattern, v1::TurnOptions};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::outcomes::executions::Executions;

/// Fields that do not make a request different, with the reasons.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("request_id", "names the request"),
    ("turn.wait_timeout", "says how long to wait, not what runs"),
    ("turn.card = CARD_REQUIREMENT_REQUIRED", "says what to wait for, not what runs"),
    ("turn.card = CARD_REQUIREMENT_AWAITED", "says what to wait for, not what runs"),
    ("turn.if_insertion_id", "a client's own repeat adds it; binds the unit that it joins"),
    ("turn.if_state_tag", "as if_insertion_id"),
    ("turn.if_not_raised", "says when it may run, not what runs"),
    ("turn.reset_before = CARD_RESET_NONE", "the default"),
    ("disposition = DISPOSITION_LEAVE", "the default"),
];

/// A valid request with one element in every repeated field.
fn base() -> TransmitRequest {
    let apdu = ApduCommand { bytes: vec![0x00, 0xA4, 0x00, 0x00], ..ApduCommand::default() };
    let continue_on = vec![StatusWordPattern { value: 0x6A82, mask: None }];
    let command = Command { action: Some(Action::Apdu(apdu)), continue_on, ..Command::default() };
    TransmitRequest {
        reader: "readers/a".into(),
        commands: vec![command],
        turn: Some(TurnOptions::default()),
        ..TransmitRequest::default()
    }
}

/// A message with one changed field, and the field's path.
struct Variant {
    path: String,
    message: DynamicMessage,
}

/// All variants of a message: one for each value of each field, at any depth.
fn variants(message: &DynamicMessage) -> Vec<Variant> {
    message.descriptor().fields().flat_map(|field| of_field(message, &field)).collect()
}

fn of_field(message: &DynamicMessage, field: &FieldDescriptor) -> Vec<Variant> {
    let with = |path: String, value: Value| {
        let mut message = message.clone();
        message.set_field(field, value);
        Variant { path, message }
    };
    let name = field.name();
    let Kind::Message(kind) = field.kind() else {
        let samples = samples(field).into_iter();
        return samples.map(|(note, value)| with(format!("{name}{note}"), value)).collect();
    };
    if field.cardinality() == Cardinality::Repeated {
        let list = message.get_field(field).as_list().unwrap().to_vec();
        let longer = with(format!("{name} + 1"), Value::List([&list[..], &list[..1]].concat()));
        let inner = variants(list[0].as_message().unwrap()).into_iter();
        let changed = inner.map(|inner| {
            let list = [&[Value::Message(inner.message)], &list[1..]].concat();
            with(format!("{name}.{}", inner.path), Value::List(list))
        });
        return std::iter::once(longer).chain(changed).collect();
    }
    if !kind.full_name().starts_with("cardbroker.") {
        return vec![with(name.to_owned(), Value::Message(filled(kind)))];
    }
    let child = message.get_field(field).as_message().unwrap().clone();
    let added = (!message.has_field(field)).then(|| with(name.to_owned(), Value::Message(child.clone())));
    let inner = variants(&child).into_iter();
    let changed = inner.map(|inner| with(format!("{name}.{}", inner.path), Value::Message(inner.message)));
    added.into_iter().chain(changed).collect()
}

/// Values of a field other than in [`base`], with their additions to its path.
fn samples(field: &FieldDescriptor) -> Vec<(String, Value)> {
    let plain = |value| vec![(String::new(), value)];
    match field.kind() {
        Kind::Bool => plain(Value::Bool(true)),
        Kind::Int32 => vec![(String::new(), Value::I32(1)), (String::new(), Value::I32(4))],
        Kind::Int64 => plain(Value::I64(1)),
        Kind::String => plain(Value::String("readers/b".into())),
        // An APDU, and as long as a request_id.
        Kind::Bytes => plain(Value::Bytes([&[0x00, 0xD6, 0x00, 0x00, 11][..], &[7; 11]].concat().into())),
        Kind::Enum(kind) => {
            let values = kind.values().filter(|value| value.number() != 0);
            values.map(|value| (format!(" = {}", value.name()), Value::EnumNumber(value.number()))).collect()
        }
        other => panic!("{}: no sample of {other:?}", field.full_name()),
    }
}

/// A message of another package with its first field set.
fn filled(kind: MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    message.set_field(&kind.fields().next().unwrap(), Value::I64(1));
    message
}

#[tokio::test]
async fn every_changed_field_is_detected_under_a_request_id() {
    let limits = OutcomeLimits { per_user: 1, total: 1, bytes: 1, lifetime: std::time::Duration::from_secs(1) };
    let executions = Executions::new(limits, CancellationToken::new()).unwrap();
    let fingerprint = |request: TransmitRequest| {
        let reader = request.reader.clone();
        unit_request(request).map(|(unit, _)| executions.fingerprint(&reader, &unit))
    };
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut message = DynamicMessage::new(pool.get_message_by_name("cardbroker.v1.TransmitRequest").unwrap());
    message.transcode_from(&base()).unwrap();
    let unchanged = fingerprint(base()).unwrap();

    let (mut same, mut told_apart) = (BTreeSet::new(), BTreeSet::new());
    let mut refused = BTreeSet::new();
    for Variant { path, message } in variants(&message) {
        match fingerprint(message.transcode_to().unwrap()) {
            Ok(fingerprint) if fingerprint == unchanged => same.insert(path),
            Ok(_) => told_apart.insert(path),
            Err(failure) => {
                assert!(matches!(failure.reason, Reason::NotImplemented | Reason::InvalidRequest), "{path}: {failure}");
                refused.insert((path, failure.reason == Reason::NotImplemented))
            }
        };
    }
    let listed: BTreeSet<_> = NOT_COMPARED.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(same, listed, "into Executions::fingerprint, or into NOT_COMPARED with the reason");
    // A field that is refused with every value cannot be compared: these are exactly the unsupported ones.
    let never_accepted = refused.iter().filter(|(path, _)| !told_apart.contains(path));
    let invalid: Vec<_> = never_accepted.filter(|(_, not_implemented)| !not_implemented).collect();
    assert!(invalid.is_empty(), "no sample of {invalid:?} is valid");
    assert!(told_apart.len() > 15 && refused.len() > 4, "{told_apart:?} {refused:?}");
}
