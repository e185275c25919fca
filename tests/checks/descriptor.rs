//! The contract's surface as a golden file, so that a review shows every change of it, and its rule about secrets.

use std::{collections::HashSet, env, fmt::Write, fs};

use cardbroker_proto::DESCRIPTORS;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
};
use similar::TextDiff;

use super::sources;

/// The packages of the contract, each with its golden file.
const PACKAGES: [(&str, &str); 3] = [
    ("cardbroker.v1", "proto/cardbroker.v1.golden.txt"),
    ("cardbroker.diagnostics.v1", "proto/cardbroker.diagnostics.v1.golden.txt"),
    ("cardbroker.pcsc.v1", "proto/cardbroker.pcsc.v1.golden.txt"),
];

/// Fields of bytes that hold no APDU and may be printed.
const HARMLESS: &[&str] = &[
    "cardbroker.diagnostics.v1.CardInserted.atr",
    "cardbroker.diagnostics.v1.CommandEvent.application",
    "cardbroker.diagnostics.v1.CommandEvent.header",
    "cardbroker.v1.Reader.atr",
    "cardbroker.v1.SessionOpened.atr",
    "cardbroker.v1.SessionResetDone.atr",
];

/// Fields that hold APDU bytes, or the id of a request. `Debug` of their messages is written by hand, see
/// proto/redact.rs. The contract has no option for it (`debug_redact`): the compilers of Debian 12 and Ubuntu 24.04
/// refuse that option.
const APDU_BYTES: &[&str] = &[
    "cardbroker.diagnostics.v1.CommandEvent.command",
    "cardbroker.diagnostics.v1.CommandEvent.response",
    "cardbroker.v1.ApduCommand.bytes",
    "cardbroker.v1.ApduResult.data",
    "cardbroker.v1.AttributeResult.value",
    "cardbroker.v1.ControlCommand.data",
    "cardbroker.v1.ControlResult.data",
    "cardbroker.v1.PinPadCommand.template",
    "cardbroker.v1.SetAttribute.value",
    "cardbroker.v1.TransmitRequest.request_id",
];

/// How the messages print that are written by hand.
fn printed() -> [(&'static str, String); 9] {
    use cardbroker_proto::{diagnostics::v1::CommandEvent, v1::*};
    [
        ("cardbroker.diagnostics.v1", format!("{:?}", CommandEvent::default())),
        ("cardbroker.v1", format!("{:?}", ApduCommand::default())),
        ("cardbroker.v1", format!("{:?}", ApduResult::default())),
        ("cardbroker.v1", format!("{:?}", AttributeResult::default())),
        ("cardbroker.v1", format!("{:?}", ControlCommand::default())),
        ("cardbroker.v1", format!("{:?}", ControlResult::default())),
        ("cardbroker.v1", format!("{:?}", PinPadCommand::default())),
        ("cardbroker.v1", format!("{:?}", SetAttribute::default())),
        ("cardbroker.v1", format!("{:?}", TransmitRequest::default())),
    ]
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

fn messages(pool: &DescriptorPool, package: &str) -> Vec<MessageDescriptor> {
    let mut messages: Vec<_> = pool.all_messages().filter(|message| message.package_name() == package).collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    messages
}

/// A package of the contract as text: services, then messages, then enums, each by name.
fn listing(pool: &DescriptorPool, package: &str) -> String {
    let mut services: Vec<_> = pool.services().filter(|service| service.package_name() == package).collect();
    services.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut enums: Vec<_> = pool.all_enums().filter(|kind| kind.package_name() == package).collect();
    enums.sort_by(|a, b| a.full_name().cmp(b.full_name()));

    let messages = messages(pool, package);
    let blocks = services.iter().map(service).chain(messages.iter().map(message)).chain(enums.iter().map(enumeration));
    blocks.collect::<Vec<_>>().join("\n")
}

fn service(service: &ServiceDescriptor) -> String {
    let stream = |yes| if yes { "stream " } else { "" };
    let mut text = format!("service {}\n", local(service.full_name()));
    for method in service.methods() {
        let (takes, gives) = (method.input(), method.output());
        let (takes, gives) = (local(takes.full_name()), local(gives.full_name()));
        let (many, much) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
        let _ = writeln!(text, "  {}: {many}{takes} -> {much}{gives}", method.name());
    }
    text
}

fn message(message: &MessageDescriptor) -> String {
    let mut text = format!("message {}\n", local(message.full_name()));
    for range in message.reserved_ranges() {
        let _ = writeln!(text, "  reserved {}-{}", range.start, range.end - 1);
    }
    for name in message.reserved_names() {
        let _ = writeln!(text, "  reserved {name}");
    }
    for field in message.fields() {
        let _ = writeln!(text, "  {} = {}{}", declaration(&field), field.number(), notes(&field));
    }
    text
}

fn enumeration(kind: &EnumDescriptor) -> String {
    let mut text = format!("enum {}\n", local(kind.full_name()));
    for range in kind.reserved_ranges() {
        let _ = writeln!(text, "  reserved {}-{}", range.start(), range.end());
    }
    for value in kind.values() {
        let _ = writeln!(text, "  {} = {}", value.name(), value.number());
    }
    text
}

fn declaration(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(kind) => local(kind.full_name()).to_owned(),
        Kind::Enum(kind) => local(kind.full_name()).to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let label = match field.cardinality() {
        Cardinality::Repeated => "repeated ",
        _ if field.field_descriptor_proto().proto3_optional() => "optional ",
        _ => "",
    };
    format!("{label}{kind} {}", field.name())
}

fn notes(field: &FieldDescriptor) -> String {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    oneof.map(|oneof| format!(" (oneof {})", oneof.name())).unwrap_or_default()
}

/// A name without the package, if it is the first one's.
fn local(name: &str) -> &str {
    name.strip_prefix(PACKAGES[0].0).and_then(|name| name.strip_prefix('.')).unwrap_or(name)
}

#[test]
fn the_contract_changes_on_purpose_only() {
    for (package, file) in PACKAGES {
        let listing = listing(&pool(), package);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(sources::root().join(file), &listing).unwrap();
        }
        let golden = sources::text(file);
        let diff = TextDiff::from_lines(&golden, &listing);
        assert!(
            golden == listing,
            "the contract is not the one in {file}:\n{}\nif that is what you want, run\n  \
             UPDATE_GOLDEN=1 cargo test -p cardbroker-checks\nand commit the file",
            diff.unified_diff().header("before", "now")
        );
    }
}

#[test]
fn every_field_of_bytes_is_known_to_hold_an_apdu_or_not() {
    let pool = pool();
    let messages = PACKAGES.iter().flat_map(|(package, _)| messages(&pool, package));
    let fields: Vec<_> = messages.flat_map(|message| message.fields().collect::<Vec<_>>()).collect();
    let bytes = fields.iter().filter(|field| field.kind() == Kind::Bytes).map(FieldDescriptor::full_name);
    let unknown: Vec<_> = bytes.filter(|field| !HARMLESS.contains(field) && !APDU_BYTES.contains(field)).collect();
    assert!(unknown.is_empty(), "{unknown:?}: into HARMLESS; or into APDU_BYTES, build.rs and proto/redact.rs");
}

#[test]
fn messages_with_apdu_bytes_print_all_their_fields() {
    let pool = pool();
    for (package, printed) in printed() {
        let name = printed.split([' ', '{']).next().unwrap();
        let message = pool.get_message_by_name(&format!("{package}.{name}")).unwrap();
        assert!(APDU_BYTES.iter().any(|field| field.starts_with(&format!("{}.", message.full_name()))), "{name}");
        for field in message.fields() {
            assert!(printed.contains(&format!("{}: ", field.name())), "{name} prints no {}: {printed}", field.name());
        }
    }
    let messages: HashSet<_> = APDU_BYTES.iter().filter_map(|field| field.rsplit_once('.')).map(|at| at.0).collect();
    assert_eq!(printed().len(), messages.len());
}

#[test]
fn the_comments_of_reasons_begin_with_their_codes() {
    let table: serde_json::Value = serde_json::from_str(&sources::text("proto/conformance/codes.json")).unwrap();
    let rows = table.as_array().unwrap();
    let contract = sources::text("proto/cardbroker/v1/error.proto");
    let (mut comment, mut compared) = (String::new(), 0);
    for line in contract.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("// ") {
            comment += words;
            continue;
        }
        let comment = std::mem::take(&mut comment);
        let Some((name, _)) = line.split_once(" = ") else { continue };
        let row = rows.iter().find(|row| row["reason"] == name && row["delivery"] == "DELIVERY_NOT_SENT");
        let Some(row) = row else { continue };
        let head = comment.split('.').next().unwrap();
        let told: Vec<_> = head.split(", ").collect();
        if told[0] == "EXECUTED" {
            continue;
        }
        assert_eq!(row["code_name"], told[0], "{name}");
        assert_eq!(!row["retry_after"].is_null(), told.contains(&"retry"), "{name}");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}
