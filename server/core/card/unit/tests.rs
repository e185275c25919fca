//! Conversations of a unit with a card. Each exchange is a command and an answer in hexadecimal.

mod fetching;
mod properties;
mod room;

use super::*;
use crate::{
    apdu::{MAX_RAW_BYTES, StatusPattern, StopRule},
    error::Delivery,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn command(hex: &str) -> UnitCommand {
    CommandApdu::parse(bytes(hex)).unwrap().into()
}

fn raw(hex: &str) -> UnitCommand {
    UnitCommand::raw(bytes(hex)).unwrap()
}

/// The time that card and reader take for each exchange.
const TOOK: Duration = Duration::from_millis(2);

struct Played {
    results: Vec<String>,
    sources: Vec<StatusWordSource>,
    durations: Vec<Duration>,
    stop: Option<Reason>,
    delivery: Option<Delivery>,
    partial: Option<String>,
}

/// Plays a `script` of pairs (expected command, answer) and returns the outcome of the unit.
fn play(commands: &[UnitCommand], protocol: Protocol, script: &[(&str, &str)]) -> Played {
    let mut run = UnitRun::new(commands, protocol).unwrap();
    let mut played = Played {
        results: Vec::new(),
        sources: Vec::new(),
        durations: Vec::new(),
        stop: None,
        delivery: None,
        partial: None,
    };
    let mut script = script.iter();
    let text = |result: CommandResult| {
        let data: String = result.data.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{data} {:?}", result.status_word)
    };
    loop {
        match run.next() {
            Next::Finished(stop) => {
                (played.stop, played.delivery) = stop.map(|failure| (failure.reason, failure.delivery)).unzip();
                played.partial = run.take_partial().map(text);
                assert_eq!(script.next(), None, "the card received fewer commands than expected");
                return played;
            }
            Next::Exchange(exchange) => {
                let (expected, answer) = script.next().expect("the card received more commands than expected");
                assert_eq!(exchange.bytes(), bytes(expected));
                if let Some(result) = run.answered(&bytes(answer), TOOK) {
                    played.sources.push(result.source);
                    played.durations.push(result.card_duration);
                    played.results.push(text(result));
                }
            }
        }
    }
}

fn play_one(hex: &str, protocol: Protocol, script: &[(&str, &str)]) -> String {
    let played = play(&[command(hex)], protocol, script);
    assert_eq!(played.stop, None);
    played.results.concat()
}

#[test]
fn select_and_get_response_become_one_answer() {
    let played = play(
        &[command("00A40400 02 3F00")],
        Protocol::T1,
        &[("00A40400 02 3F00", "6103"), ("00C0000003", "6F0101 9000")],
    );
    assert_eq!(played.results, ["6F0101 9000"]);
    assert_eq!(played.sources, [StatusWordSource::GetResponse]);
}

#[test]
fn raw_commands_pass_unchanged_and_others_are_completed() {
    let commands =
        [raw("00A40400 02 3F00"), raw("00C0000003"), raw("00B0000005"), raw("00200080"), command("00200080")];
    let played = play(
        &commands,
        Protocol::T0,
        &[
            ("00A40400 02 3F00", "6103"),
            ("00C0000003", "6F0101 9000"),
            ("00B0000005", "6282"),
            ("00200080", "9000"),
            ("0020008000", "9000"),
        ],
    );
    assert_eq!(played.results, [" 6103", "6F0101 9000", " 6282", " 9000", " 9000"]);
    let played = play(&[raw("00B0000005")], Protocol::T1, &[("00B0000005", "6C02")]);
    assert_eq!(played.results, [" 6C02"]);
}

#[test]
fn raw_commands_need_no_structure() {
    for unreadable in ["00", "803003000000", "002A8086000101 55", "00D60000 09 0102"] {
        assert_eq!((raw(unreadable).apdu(), raw(unreadable).header()), (None, Header::Unreadable));
        for protocol in [Protocol::T0, Protocol::T1, Protocol::Raw] {
            let played = play(&[raw(unreadable)], protocol, &[(unreadable, "6105")]);
            assert_eq!((played.results, played.stop), (vec![" 6105".into()], None), "{unreadable}");
        }
    }
    assert_eq!(raw("00B0000005").header(), Header::Read([0x00, 0xB0, 0x00, 0x00]));
    for (length, is_taken) in [(0, false), (1, true), (MAX_RAW_BYTES, true), (MAX_RAW_BYTES + 1, false)] {
        assert_eq!(UnitCommand::raw(vec![0x55; length]).is_ok(), is_taken, "{length}");
    }
}

#[test]
fn the_card_duration_covers_all_exchanges_of_a_command() {
    let commands = [command("00B0000005"), command("00CA010000"), command("00B00000")];
    let script =
        [("00B0000005", "6C02"), ("00B0000002", "AABB 9000"), ("00CA010000", "6101"), ("00C0000001", "77 9000")];
    let played = play(&commands, Protocol::T1, &[&script[..], &[("00B00000", "9000")]].concat());
    assert_eq!(played.durations, [2 * TOOK, 2 * TOOK, TOOK]);
}

#[test]
fn a_long_answer_is_fetched_in_pieces() {
    let script = [("00CA010000", "AA 6100"), ("00C0000000", "BB 6102"), ("00C0000002", "CCDD 6282")];
    assert_eq!(play_one("00CA010000", Protocol::T1, &script), "AABBCCDD 6282");
}

#[test]
fn a_failed_fetch_returns_the_data_so_far() {
    for (before, word) in [("AA 6105", "6A80"), ("6105", "6985")] {
        let played = play(&[command("00CA010000")], Protocol::T1, &[("00CA010000", before), ("00C0000005", word)]);
        assert_eq!(played.results, [format!("{} {word}", &before[..before.len() - 4].trim())]);
        assert_eq!((played.sources, played.stop), (vec![StatusWordSource::GetResponse], None));
    }
    let script = [("00CA010000", "6101"), ("00C0000001", "AA 6105"), ("00C0000005", "6D00")];
    assert_eq!(play_one("00CA010000", Protocol::T1, &script), "AA 6D00");
}

#[test]
fn a_wrong_le_is_corrected_once_in_plain_case_2() {
    assert_eq!(
        play_one("00B0000005", Protocol::T1, &[("00B0000005", "6C02"), ("00B0000002", "AABB 9000")]),
        "AABB 9000"
    );
    assert_eq!(play_one("00B0000005", Protocol::T1, &[("00B0000005", "6C02"), ("00B0000002", "6C03")]), " 6C03");
    for never in ["00CB3FFF 02 5C00 00", "0CB0000005", "10B0000005", "00A40000"] {
        assert_eq!(play_one(never, Protocol::T1, &[(never, "6C02")]), " 6C02", "{never}");
    }
}

#[test]
fn a_wrong_le_of_get_response_is_corrected_too() {
    let script = [("00CA010000", "6105"), ("00C0000005", "6C03"), ("00C0000003", "AABBCC 9000")];
    assert_eq!(play_one("00CA010000", Protocol::T1, &script), "AABBCC 9000");
}

#[test]
fn commands_are_converted_for_t0() {
    let t0 = |hex, script: &[(&str, &str)]| play_one(hex, Protocol::T0, script);
    t0("00200080", &[("0020008000", "63C3")]);
    t0("00A40400 02 3F00 00", &[("00A40400 02 3F00", "6103"), ("00C0000003", "6F0101 9000")]);
    t0("00A40400 00 0002 3F00", &[("00A40400 02 3F00", "9000")]);
    t0("00A40400 00 0002 3F00 0000", &[("00A40400 02 3F00", "9000")]);
    t0("00B00000 00 0000", &[("00B0000000", "AA 9000")]);
    t0("00B00000 00 0010", &[("00B0000010", "AA 9000")]);
    t0("00B00000 00 0200", &[("00B0000000", "AA 6110"), ("00C0000010", "BB 9000")]);
}

#[test]
fn a_command_too_long_for_t0_refuses_the_whole_unit() {
    let long = format!("00D60000 00 0100 {}", "55".repeat(256));
    let commands = [command("00A40000"), command(&long)];
    let refused = UnitRun::new(&commands, Protocol::T0).err().unwrap();
    assert_eq!(refused.reason, Reason::UnsupportedLength);
    let raw = [command("00A40000"), raw(&long)];
    assert!(UnitRun::new(&raw, Protocol::T0).is_ok() && UnitRun::new(&commands, Protocol::T1).is_ok());
}

#[test]
fn an_error_status_word_stops_the_unit() {
    let commands = [command("00200080 02 3131"), command("002A0000")];
    let played = play(&commands, Protocol::T1, &[("00200080 02 3131", "63C2")]);
    assert_eq!((played.results, played.stop), (vec![" 63C2".into()], Some(Reason::StatusWord)));
}

#[test]
fn the_last_command_may_answer_anything() {
    let played =
        play(&[command("00A40000"), command("00B00000")], Protocol::T1, &[("00A40000", "9000"), ("00B00000", "6A82")]);
    assert_eq!((played.results.len(), played.stop), (2, None));
}

#[test]
fn continue_on_replaces_the_default_rule() {
    let mut select = command("00A40000");
    select.continue_on = vec![StatusPattern { value: 0x6A82, mask: 0xFFFF }];
    let commands = [select, command("00B00000")];
    let played = play(&commands, Protocol::T1, &[("00A40000", "6A82"), ("00B00000", "9000")]);
    assert_eq!((played.results.len(), played.stop), (2, None));
    let played = play(&commands, Protocol::T1, &[("00A40000", "9000")]);
    assert_eq!(played.stop, Some(Reason::StatusWord));
}

#[test]
fn a_stop_rule_applies_without_continue_on() {
    for (rule, word, goes_on) in
        [(StopRule::Default, "910B", false), (StopRule::Sim, "910B", true), (StopRule::Only9000, "6282", false)]
    {
        let mut first = command("81E20000 01 AA");
        first.stop_rule = rule;
        let commands = [first, command("00B00000")];
        let script = [("81E20000 01 AA", word), ("00B00000", "9000")];
        let played = play(&commands, Protocol::T1, if goes_on { &script } else { &script[..1] });
        assert_eq!(played.stop.is_none(), goes_on, "{rule:?} {word}");
    }
    let mut strict = command("00A40000");
    (strict.stop_rule, strict.continue_on) = (StopRule::Only9000, vec![StatusPattern { value: 0x6282, mask: 0xFFFF }]);
    let played = play(&[strict, command("00B00000")], Protocol::T1, &[("00A40000", "6282"), ("00B00000", "9000")]);
    assert_eq!(played.stop, None);
}

#[test]
fn a_stop_message_names_the_status_word_and_the_remedy() {
    let commands = [command("00A40000"), command("00B00000")];
    let mut run = UnitRun::new(&commands, Protocol::T1).unwrap();
    run.answered(&[0x6A, 0x82], TOOK);
    let Next::Finished(Some(stop)) = run.next() else { panic!("the unit continues") };
    assert!(["6A82", "continue_on", "stop_rule"].iter().all(|word| stop.message.contains(word)), "{stop}");
}

#[test]
fn an_answer_without_a_status_word_changes_nothing() {
    let commands = [command("00A40000")];
    let mut run = UnitRun::new(&commands, Protocol::T1).unwrap();
    assert_eq!(run.answered(&[0x90], TOOK), None);
    let again = Exchange { sent: made(bytes("00A40000")), command: &commands[0], index: 0, completes: false };
    assert_eq!(run.next(), Next::Exchange(again));
}
