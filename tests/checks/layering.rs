//! Imports run one way: a file names only what lies below it. The tables here are the order.

use super::{names, sources};

/// Modules from low to high; a module names only lines above its own.
type Layers = &'static [&'static [&'static str]];

/// A crate whose modules have an order. A crate may lie in a folder of another one.
struct Crate {
    /// The folder of its sources, from the top of the repository, with a slash at the end.
    root: &'static str,
    /// Its modules. Its lib.rs and main.rs are above them all.
    layers: Layers,
    /// The order inside some of these modules, by their names. A module's own file (mod.rs) is above them all.
    inner: &'static [(&'static str, Layers)],
}

/// All crates with an order.
const ORDERED: &[Crate] = &[
    Crate { root: "server/", layers: SERVER, inner: &[("reader", READER)] },
    Crate { root: "server/core/", layers: CORE, inner: &[("card", CARD), ("policy", POLICY), ("turns", TURNS)] },
];

/// The decisions, from low to high.
const CORE: Layers = &[
    &["apdu", "atr", "error", "keyed_hash", "pcsc_words", "properties", "sid", "slot_name"],
    &["slot", "user"],
    &["caller", "simulated_card", "status"],
    &["policy", "turns"],
    &["card", "journal", "lifecycle", "pcsclite"],
    &["outcomes"],
];

/// Everything pure that sees the bytes of an APDU.
const CARD: Layers = &[&["marks", "selection", "unit"], &["view"], &["pin_guard"], &["gate"]];

/// Which caller may do what.
const POLICY: Layers = &[&["operation", "pattern", "principal", "reader_names"], &["rule"], &["unfit"]];

/// The rule of turns, from low to high.
const TURNS: Layers = &[
    &["hash", "isolation", "lease", "quantum", "turn", "waiting"],
    &["request"],
    &["bounds", "comebacks", "debts", "places", "rounds"],
    &["limits"],
    &["visit"],
    &["schedule"],
];

/// The server's modules, from low to high.
const SERVER: Layers = &[
    &["backend", "caller", "trace"],
    &["journal"],
    &["policy"],
    &["config"],
    &["listen", "process"],
    &["reader"],
    &["outcomes", "registry"],
    &["broker"],
    // Above listen, which tells them who calls.
    &["pcsclite"],
    &["grpc"],
    &["server"],
];

/// The parts of one reader.
const READER: Layers = &[
    &["snapshot", "spans", "statuses"],
    &["ticket"],
    &["jobs"],
    &["card", "inbox", "session_task"],
    &["schedule", "session"],
    &["handle", "pipeline"],
    &["actor"],
];

/// Crates (and their families: tonic is tonic_health too) that only these files may name.
const CRATES: &[(&str, &[&str])] = &[
    ("cardbroker_server", &["server/main.rs", "packaging/", "tests/"]),
    ("cardbroker_client", &["client/c/", "client/rust/", "client/cli/", "tests/"]),
    ("cardbroker_proto", &["proto/", "client/rust/", "client/cli/", "server/grpc/", "server/server.rs", "tests/"]),
    ("pcsc", &["server/backend/pcsc/", "tests/"]),
    (
        "tonic",
        &[
            "build.rs",
            "proto/",
            "client/rust/",
            "client/cli/tests/",
            "server/grpc/",
            "server/listen/",
            "server/server.rs",
            "tests/",
        ],
    ),
];

/// Methods that only these files may call.
const METHODS: &[(&str, &[&str])] = &[
    // It takes the protection from the bytes of an APDU.
    ("expose_for_wire", &["proto/bytes/", "server/grpc/convert.rs", "client/rust/", "client/cli/", "tests/"]),
];

/// Files that may name the system's clock, which jumps: they show times. Leases, waits and limits use `Instant`.
const WALL_CLOCK: &[&str] =
    &["server/broker/about.rs", "server/grpc/", "server/process/telemetry/", "client/", "proto/", "tests/"];

/// Files that decide and do nothing else: no runtime, no clock, no input and output.
const PURE: &[&str] = &[
    "server/core/",
    "server/backend/pcsc/check/lines.rs",
    "server/backend/pcsc/pace.rs",
    "server/backend/pcsc/refusal.rs",
    "server/config/reloaded.rs",
    "server/grpc/intake/framing.rs",
    "server/policy/audit/coalesce.rs",
    "server/process/telemetry/lanes.rs",
    "server/reader/actor/machine.rs",
    "server/registry/view.rs",
];

/// Names that no pure file uses, a run of segments anywhere in a name.
const IMPURE: &[&str] = &[
    "tokio",
    "tracing",
    "Instant::now",
    "SystemTime",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "thread::sleep",
];

/// Every name in a file that the file should not know, each with its place and the reason.
fn violations(crates: &[Crate], path: &str, source: &str) -> Vec<String> {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        for (method, places) in METHODS {
            if line.contains(method) && !places.iter().any(|place| path.starts_with(place)) {
                found.push(format!("{path}:{}: only {} may call {method}", index + 1, places.join(", ")));
            }
        }
    }
    for name in names::of(source) {
        let written = name.segments.join("::");
        let mut complain = |why: &str| found.push(format!("{path}:{}: {written}: {why}", name.line));
        for (family, places) in CRATES {
            if is_of(family, &name.segments[0]) && !places.iter().any(|place| path.starts_with(place)) {
                complain(&format!("only {} may name {family}", places.join(", ")));
            }
        }
        if is_test {
            continue;
        }
        if name.segments.iter().any(|segment| segment == "SystemTime" || segment == "UNIX_EPOCH")
            && !WALL_CLOCK.iter().any(|place| path.starts_with(place))
        {
            complain("leases and waits use Instant, for the system's clock jumps");
        }
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            let impure = IMPURE.iter().filter(|run| format!("::{written}::").contains(&format!("::{run}::")));
            impure.for_each(|run| complain(&format!("a pure file does not name {run}")));
        }
        if let Some((home, module)) = home(crates, path)
            && let Some(target) = in_crate(&module, &name.segments)
        {
            if points_up(home.layers, &module, &target) {
                complain("points up, or one of both is missing in the table of its crate");
            } else if let ([parent, module @ ..], [same, target @ ..]) = (&module[..], &target[..])
                && parent == same
                && !target.is_empty()
                && let Some((_, layers)) = home.inner.iter().find(|(inner, _)| inner == parent)
                && points_up(layers, module, target)
            {
                complain(&format!("points up inside {parent}, or one of both is missing in its table"));
            }
        }
    }
    found
}

fn is_of(family: &str, name: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The crate of a file (the innermost), and the file's module there; `None` for a crate's roots, and in other folders.
fn home<'a, 'b>(crates: &'a [Crate], path: &'b str) -> Option<(&'a Crate, Vec<&'b str>)> {
    let home = crates.iter().filter(|home| path.starts_with(home.root)).max_by_key(|home| home.root.len())?;
    let path = path.strip_prefix(home.root)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    (!["lib", "main"].contains(&path)).then(|| (home, path.split('/').collect()))
}

/// The meaning of a name in `module`, from the crate's root; `None` if it is not written as one of this crate.
fn in_crate(module: &[&str], segments: &[String]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = segments;
    match segments[0].as_str() {
        "crate" => (base, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {}
        _ => return None,
    }
    while let [first, others @ ..] = rest
        && first == "super"
    {
        base.pop();
        rest = others;
    }
    Some(base.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// Whether `target` is not below `module`. A module that is the table's own root is above everything.
fn points_up(layers: &[&[&str]], module: &[&str], target: &[String]) -> bool {
    let layer = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    match (module.first(), target.first()) {
        (None, _) => false,
        (Some(module), Some(target)) if module == target => layer(module).is_none(),
        (Some(module), Some(target)) => match (layer(module), layer(target)) {
            (Some(module), Some(target)) => target >= module,
            _ => true,
        },
        (Some(_), None) => true,
    }
}

#[test]
fn no_file_names_what_lies_above_it() {
    let found: Vec<_> = sources::rust().iter().flat_map(|(path, text)| violations(ORDERED, path, text)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_crate_of_the_server_has_an_order() {
    let manifests =
        sources::all().into_iter().filter_map(|(path, _)| Some(path.strip_suffix("Cargo.toml")?.to_owned()));
    for root in manifests.filter(|root| root.starts_with("server/")) {
        assert!(ORDERED.iter().any(|home| home.root == root), "{root} is missing in ORDERED");
    }
}

#[test]
fn neither_side_depends_on_the_other() {
    for (manifest, other) in [
        ("client/c/Cargo.toml", "cardbroker-server"),
        ("client/cli/Cargo.toml", "cardbroker-server"),
        ("client/rust/Cargo.toml", "cardbroker-server"),
        ("server/Cargo.toml", "cardbroker-client"),
    ] {
        assert!(!sources::text(manifest).contains(other), "{manifest} names {other}");
    }
}

#[test]
fn every_place_in_the_tables_exists() {
    let files = sources::rust();
    for place in CRATES.iter().chain(METHODS).flat_map(|(_, places)| *places).chain(PURE) {
        assert!(files.iter().any(|(path, _)| path.starts_with(place)), "{place}");
    }
    let inner = |home: &Crate| {
        let inner = home.inner.iter().map(|(module, layers)| (format!("{}{module}/", home.root), *layers));
        inner.collect::<Vec<_>>()
    };
    for (folder, layers) in
        ORDERED.iter().flat_map(|home| [vec![(home.root.to_owned(), home.layers)], inner(home)].concat())
    {
        for module in layers.iter().copied().flatten() {
            let exists = |file: String| files.iter().any(|(path, _)| *path == file);
            assert!(exists(format!("{folder}{module}.rs")) || exists(format!("{folder}{module}/mod.rs")), "{module}");
        }
    }
}

#[test]
fn planted_names_are_found() {
    for (path, source) in [
        ("server/core/apdu/mod.rs", "use crate::slot::SlotError;"),
        ("server/backend/mod.rs", "use crate::config::Config;"),
        ("server/config/reader.rs", "fn f() { super::super::broker::g() }"),
        ("server/broker/mod.rs", "use crate::grpc::Edge;"),
        ("server/new.rs", "use crate::backend::Slot;"),
        ("server/grpc/mod.rs", "use crate::new::Thing;"),
        ("server/core/card/unit/mod.rs", "use crate::outcomes::Outcome;"),
        ("server/reader/ticket/mod.rs", "fn f() { crate::reader::jobs::g() }"),
        ("server/core/turns/rounds/mod.rs", "use crate::card::unit::UnitRequest;"),
        ("server/registry/mod.rs", "fn f(card: pcsc::Card) {}"),
        ("server/broker/mod.rs", "use tonic::Status;"),
        ("server/broker/about.rs", "use cardbroker_proto::MAX_COMMANDS;"),
        ("server/registry/mod.rs", "use tonic_types::StatusExt;"),
        ("client/rust/watch.rs", "use cardbroker_server::broker::Broker;"),
        ("client/cli/watch.rs", "use tonic::Status;"),
        ("client/rust/tests/fake.rs", "use cardbroker_server::broker::Broker;"),
        ("server/listen/unix/tests/serving.rs", "use cardbroker_client::Client;"),
        ("server/core/turns/rounds/mod.rs", "fn f() -> Instant { std::time::Instant::now() }"),
        ("server/reader/actor/clock.rs", "fn f() { std::time::SystemTime::now() }"),
        ("server/core/lifecycle/mod.rs", "fn f() { select! { _ = tokio::time::sleep(x) => {} } }"),
        ("server/registry/view.rs", "use tokio::sync::mpsc;"),
        ("server/core/lifecycle/mod.rs", "use tracing::debug;"),
        ("server/core/apdu/class.rs", "use std::{fmt, fs::File};"),
        ("server/core/outcomes/mod.rs", "fn f(data: ApduBytes) -> Vec<u8> { data.expose_for_wire() }"),
    ] {
        assert_eq!(violations(ORDERED, path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn names_that_point_down_pass() {
    for (path, source) in [
        ("server/config/reader.rs", "use super::value; use crate::policy::rule::Rule;"),
        ("server/reader/mod.rs", "pub use self::actor::spawn; use crate::backend::Slot;"),
        ("server/reader/ticket/mod.rs", "use tokio::sync::oneshot::{self, Sender}; use crate::policy::access::Access;"),
        (
            "server/core/turns/rounds/mod.rs",
            "use std::time::Instant; #[cfg(test)] mod tests { use std::time::Instant; fn f() { Instant::now() } }",
        ),
        ("server/server.rs", "use crate::backend::{Backend, pcsc::Pcsc}; use tonic_health::ServingStatus;"),
        ("server/main.rs", "use cardbroker_server::server::Server;"),
        ("server/grpc/convert.rs", "fn f(data: ApduBytes) -> Vec<u8> { data.expose_for_wire() }"),
        ("tests/e2e/main.rs", "use pcsc::Context; use cardbroker_client::Client;"),
    ] {
        assert_eq!(violations(ORDERED, path, source), [""; 0], "{path}: {source}");
    }
}

/// A crate in a folder of another one, both with an order of their own.
const NESTED: &[Crate] = &[
    Crate { root: "server/", layers: &[&["broker"], &["grpc"]], inner: &[] },
    Crate { root: "server/core/", layers: &[&["apdu"], &["card"]], inner: &[("card", &[&["gate"], &["unit"]])] },
];

#[test]
fn planted_names_in_a_nested_crate_are_found() {
    for (path, source) in [
        ("server/core/apdu/mod.rs", "use crate::card::Unit;"),
        ("server/core/card/gate.rs", "use super::unit::Unit;"),
        ("server/core/card/gate.rs", "use crate::broker::Broker;"),
        ("server/core/new.rs", "use crate::apdu::Class;"),
        ("server/core/lib.rs", "use cardbroker_server::broker::Broker;"),
        ("server/core/card/unit.rs", "fn f(broker: cardbroker_server::broker::Broker) {}"),
        ("server/core/card/unit.rs", "use tonic::Status;"),
        ("server/broker.rs", "use crate::grpc::Edge;"),
        ("server/broker.rs", "use crate::core::apdu::Class;"),
    ] {
        assert_eq!(violations(NESTED, path, source).len(), 1, "{path}: {source}");
    }
    for (path, source) in [
        ("server/core/card/unit.rs", "use super::gate::Gate; use crate::apdu::Class; use std::fmt::Debug;"),
        ("server/core/lib.rs", "pub use crate::card::Unit;"),
        ("server/core/card/mod.rs", "pub use self::unit::Unit; use super::apdu::Class;"),
        ("server/broker.rs", "use cardbroker_core::apdu::Class;"),
    ] {
        assert_eq!(violations(NESTED, path, source), [""; 0], "{path}: {source}");
    }
}
