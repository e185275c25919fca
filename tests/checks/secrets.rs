//! No type of the daemon, the clients and their common crates prints bytes that may be a secret.

use super::sources;

/// Types of fields whose `Debug` prints every byte.
const BYTES: &[&str] = &["Vec<u8>", "[u8]", "[u8; 32]", "Zeroizing<"];

/// Items that hold bytes and print them, by file and name, because none of the bytes is a secret.
const PRINTED: &[(&str, &str)] = &[
    // Identifiers of applications, which standards define.
    ("client/cli/apdu/application.rs", "Application"),
    // Answers to reset, which every caller may see.
    ("client/cli/card/atr/mod.rs", "Atr"),
    ("client/cli/card/atr/mod.rs", "Part"),
    // The path of a socket.
    ("client/cli/doctor/machine/peers.rs", "Entry"),
    ("server/core/journal/event.rs", "EventKind"),
    ("server/core/simulated_card/recording.rs", "RecordedCard"),
    ("server/core/slot.rs", "SlotStatus"),
    ("server/core/slot.rs", "CardInfo"),
    ("server/core/status.rs", "ReaderStatus"),
    // Names of applications in the operator's own rules and questions.
    ("server/core/policy/rule.rs", "ApplicationPattern"),
    ("server/policy/explain.rs", "Aid"),
    // The PIN of a simulated card, which the documents name.
    ("server/core/simulated_card/mod.rs", "CardOptions"),
    // Lines of the log, which are written anyway.
    ("server/process/telemetry/lanes.rs", "Entry"),
];

/// The names of the items in a file that derive `Debug` and have a field of plain bytes.
fn printing(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = source.lines().map(|line| line.split("//").next().unwrap_or_default().trim_end());
    while let Some(line) = lines.next() {
        if !(line.trim_start().starts_with("#[derive(") && line.contains("Debug")) {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut item = String::new();
        for line in lines.by_ref() {
            item.push_str(line);
            item.push('\n');
            if line.strip_prefix(indent).is_some_and(|line| line.starts_with(['}', ')'])) || line.ends_with([';', '}'])
            {
                break;
            }
        }
        let mut words = item.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let name = words.find(|word| ["struct", "enum"].contains(word)).and_then(|_| words.next());
        if BYTES.iter().any(|bytes| item.contains(bytes)) {
            found.push(name.unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn no_type_with_secret_bytes_derives_debug() {
    let mut found = Vec::new();
    for (path, text) in sources::rust() {
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        if ["server/", "client/", "proto/"].iter().any(|top| path.starts_with(top)) && !is_test {
            found.extend(printing(&text).into_iter().map(|name| (path.clone(), name)));
        }
    }
    let mut expected: Vec<_> = PRINTED.iter().map(|(path, name)| ((*path).to_owned(), (*name).to_owned())).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "take ApduBytes, or write Debug by hand; remove names that are gone from PRINTED");
}

#[test]
fn planted_types_with_secret_bytes_are_found() {
    for source in [
        "#[derive(Debug)]\nstruct Planted {\n    fci: Vec<u8>,\n}\n",
        "#[derive(Clone, Debug)]\npub struct Planted(Vec<(TokenId, [u8; 32])>);\n",
        "    #[derive(Debug)]\n    enum Planted {\n        A { name: Vec<u8> },\n    }\n",
        "#[derive(Debug)]\nenum First {\n    A,\n}\n\n#[derive(Debug)]\n#[must_use]\nstruct Planted<'a>(&'a [u8]);\n",
    ] {
        assert_eq!(printing(source), ["Planted"], "{source}");
    }
    for source in [
        "#[derive(Clone)]\nstruct Hidden {\n    fci: Vec<u8>,\n}\n",
        "#[derive(Debug)]\nstruct Hidden {\n    fci: ApduBytes, // not Vec<u8>\n}\n\nfn f() -> Vec<u8> {}\n",
    ] {
        assert_eq!(printing(source), [""; 0], "{source}");
    }
}
