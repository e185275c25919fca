//! Traces as files: their lines, their mistakes, and the round trip from a card to its replay.

mod round_trip;

use cardbroker_core::{properties::holds, simulated_card::StepContent};
use proptest::{collection::vec, prelude::*};

use super::*;

/// One of each line, as the client writes them.
const CONFORMANCE: &str = include_str!("../../../../proto/conformance/trace.jsonl");

fn parsed(text: &str) -> Result<RecordedReaders, String> {
    parse(text.as_bytes(), Path::new("x.jsonl")).map_err(|error| error.to_string())
}

/// The line of a command at `reader`.
fn command_line(reader: &str, number: i64, command: &str, response: &str) -> String {
    format!(
        "{{\"event\":\"command\",\"reader\":\"readers/{reader}\",\"number\":{number},\"is_recorded\":false,\
         \"failed\":false,\"command\":\"{command}\",\"response\":\"{response}\"}}\n"
    )
}

#[test]
fn the_lines_of_the_client_are_read() {
    let readers = parsed(CONFORMANCE).unwrap();
    let (id, cards) = readers.first_key_value().unwrap();
    let [card] = &cards[..] else { panic!("{cards:?}") };
    assert_eq!((readers.len(), id.as_str()), (1, "desk"));
    assert_eq!((&card.atr[..], card.protocol, card.is_removed), (&[0x3B, 0x80][..], Protocol::T1, true));
    let select = [0x00, 0xA4, 0x04, 0x00, 5, 0xA0, 0, 0, 3, 8, 0];
    let expected = [
        (5, StepContent::Whole { command: (&select).into(), response: Some([0x61, 0x10].into()) }),
        (6, StepContent::Masked { header: Some([0x00, 0xC0, 0x00, 0x00]) }),
        (7, StepContent::Masked { header: Some([0x00, 0x20, 0x00, 0x81]) }),
    ];
    assert_eq!(card.steps, expected.map(|(line, content)| Step { line, content }));
}

#[test]
fn every_reader_has_its_own_cards() {
    let text = command_line("b", 1, "00B0000001", "079000")
        + "\n{\"event\":\"melted\",\"reader\":7}\n"
        + "{\"event\":\"denial\",\"reader\":\"readers/c\",\"number\":1}\n"
        + &command_line("a", 9, "00B0000001", "6982");
    let readers = parsed(&text).unwrap();
    let told: Vec<_> = readers.iter().map(|(id, cards)| (id.as_str(), cards.len())).collect();
    assert_eq!(told, [("a", 1), ("b", 1), ("c", 0)]);
}

#[test]
fn commands_from_the_recorder_are_left_out() {
    let recorded = command_line("a", 1, "00B0000001", "9000").replace("\"is_recorded\":false", "\"is_recorded\":true");
    let text = recorded + &command_line("a", 2, "00B0000002", "9000");
    assert_eq!(parsed(&text).unwrap()["a"][0].steps.len(), 1);
}

#[test]
fn missing_events_are_a_gap_at_their_reader_only() {
    let read = |reader, number| command_line(reader, number, "00B0000001", "9000");
    let missed = "{\"event\":\"missed\",\"missed_count\":2}\n";
    let text = read("a", 1) + &read("b", 1) + missed + &read("a", 2) + &read("b", 4);
    let readers = parsed(&text).unwrap();
    let gaps = |id: &str| readers[id][0].steps.iter().filter(|step| step.content == StepContent::Gap).count();
    assert_eq!((gaps("a"), gaps("b")), (0, 1));
}

#[test]
fn a_failed_command_is_whole_without_a_response() {
    let failed = command_line("a", 1, "00B0000001", "").replace("\"failed\":false", "\"failed\":true");
    let steps = |text: &str| parsed(text).unwrap()["a"][0].steps[0].content.clone();
    let whole = StepContent::Whole { command: (&[0x00, 0xB0, 0, 0, 1]).into(), response: None };
    assert_eq!(steps(&failed.replace("\"response\":\"\"", "\"response\":null")), whole);
    let unanswered = command_line("a", 1, "00B0000001", "").replace("\"response\":\"\"", "\"response\":null");
    assert_eq!(steps(&unanswered), StepContent::Masked { header: None });
}

#[test]
fn a_mistake_names_its_line_and_does_not_quote_it() {
    let good = command_line("a", 1, "00B0000001", "9000");
    for (line, expected) in [
        ("secret", "x.jsonl:2: is not an event of a trace"),
        ("{\"event\":\"command\",\"secret\":1}", "x.jsonl:2: is not an event of a trace"),
        ("{\"event\":\"trace_began\",\"version\":2}", "x.jsonl:2: format 2; this program reads format 1"),
        (&good.replace("readers/a", "a"), "x.jsonl:2: reader: must be readers/ and"),
        (&good.replace("readers/a", "readers/a\\u001b"), "x.jsonl:2: reader: must be readers/ and"),
        (&good.replace("9000", "900"), "x.jsonl:2: response: must be hexadecimal"),
        (&good.replace("9000", "90"), "x.jsonl:2: response: must have 2 to"),
        (&good.replace("\"9000\"", "null,\"header\":\"00\""), "x.jsonl:2: header: must have 4 bytes"),
        (
            "{\"event\":\"card_inserted\",\"reader\":\"readers/a\",\"insertion_id\":\"\",\"atr\":\"3B\"}",
            "x.jsonl:2: atr: must have 2 to 33 bytes",
        ),
    ] {
        let problem = parsed(&format!("{good}{line}\n")).unwrap_err();
        assert!(problem.starts_with(expected) && !problem.contains("secret"), "{problem}");
    }
    assert_eq!(parsed("\n").unwrap_err(), "x.jsonl: has no event of a reader");
    let long = format!("{good}{}\n", " ".repeat(1 << 20));
    assert_eq!(parsed(&long).unwrap_err(), "x.jsonl:2: is longer than 1 MiB");
    let many: String = (0..257).map(|n| command_line(&n.to_string(), 1, "00B0000001", "9000")).collect();
    assert_eq!(parsed(&many).unwrap_err(), "x.jsonl:257: more than 256 readers");
}

// The system's words for a missing file are Unix's.
#[cfg(unix)]
#[test]
fn a_file_must_be_regular_and_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let problem = |path: &Path| read(path).unwrap_err().to_string();
    assert!(problem(&path).contains("cannot read the trace: No such file"));
    assert!(problem(folder.path()).ends_with("is not a regular file"));
    std::fs::write(&path, command_line("a", 1, "00B0000001", "9000")).unwrap();
    assert_eq!(read(&path).unwrap().len(), 1);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    assert!(problem(&path).contains("is larger than 64 MiB"));
}

#[test]
fn damaged_files_are_read_or_refused() {
    let damage = vec((0..CONFORMANCE.len(), any::<u8>()), 1..20);
    holds(500, damage, |damage| {
        let mut bytes = CONFORMANCE.as_bytes().to_vec();
        damage.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        match parse(&*bytes, Path::new("x.jsonl")) {
            Ok(readers) => prop_assert!(!readers.is_empty()),
            Err(TraceFileError::Line { line, .. }) => prop_assert!((1..=lines).contains(&line)),
            Err(other) => prop_assert!(other.to_string().contains("no event"), "{other}"),
        }
        Ok(())
    });
}
