//! Conversations of a unit with a card, each exchange written down as command and answer in hex.

mod properties;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn command(hex: &str) -> UnitCommand {
    UnitCommand {
        apdu: CommandApdu::parse(bytes(hex)).unwrap(),
        continue_on: Vec::new(),
        continue_instruction: None,
        allow_last_try: false,
    }
}

struct Told {
    results: Vec<String>,
    sources: Vec<StatusWordSource>,
    stop: Option<Reason>,
    partial: Option<String>,
}

/// Plays `script` of (what the card must get, what it answers) and returns what came of it.
fn play(commands: &[UnitCommand], raw: bool, protocol: Protocol, script: &[(&str, &str)]) -> Told {
    let mut run = UnitRun::new(commands, raw, protocol).unwrap();
    let mut told = Told { results: Vec::new(), sources: Vec::new(), stop: None, partial: None };
    let mut script = script.iter();
    let text = |result: CommandResult| {
        let data: String = result.data.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{data} {:?}", result.status_word)
    };
    loop {
        match run.next() {
            Next::Finished(stop) => {
                told.stop = stop.map(|failure| failure.reason);
                told.partial = run.take_partial().map(text);
                assert_eq!(script.next(), None, "the card was sent less than expected");
                return told;
            }
            Next::Exchange(Exchange { bytes: sent, .. }) => {
                let (expected, answer) = script.next().expect("the card was sent more than expected");
                assert_eq!(*sent, bytes(expected)[..]);
                if let Some(result) = run.answered(&bytes(answer)) {
                    told.sources.push(result.source);
                    told.results.push(text(result));
                }
            }
        }
    }
}

fn play_one(hex: &str, protocol: Protocol, script: &[(&str, &str)]) -> String {
    let told = play(&[command(hex)], false, protocol, script);
    assert_eq!(told.stop, None);
    told.results.concat()
}

#[test]
fn the_story_select_and_fetch_become_one_answer() {
    let told = play(
        &[command("00A40400 02 3F00")],
        false,
        Protocol::T1,
        &[("00A40400 02 3F00", "6103"), ("00C0000003", "6F0101 9000")],
    );
    assert_eq!(told.results, ["6F0101 9000"]);
    assert_eq!(told.sources, [StatusWordSource::GetResponse]);
}

#[test]
fn raw_commands_are_left_alone() {
    let commands = [command("00A40400 02 3F00"), command("00C0000003"), command("00B0000005")];
    let told = play(
        &commands,
        true,
        Protocol::T0,
        &[("00A40400 02 3F00", "6103"), ("00C0000003", "6F0101 9000"), ("00B0000005", "6C02")],
    );
    assert_eq!(told.results, [" 6103", "6F0101 9000", " 6C02"]);
}

#[test]
fn a_long_answer_is_fetched_piece_by_piece() {
    let script = [("00CA010000", "AA 6100"), ("00C0000000", "BB 6102"), ("00C0000002", "CCDD 6282")];
    assert_eq!(play_one("00CA010000", Protocol::T1, &script), "AABBCCDD 6282");
}

#[test]
fn the_fetching_instruction_and_class_follow_the_command() {
    let mut oath = command("00A1000000");
    oath.continue_instruction = Some(0xA5);
    let told = play(&[oath], false, Protocol::T1, &[("00A1000000", "6101"), ("00A5000001", "77 9000")]);
    assert_eq!(told.results, ["77 9000"]);
    play_one("0EA40000 01 AA", Protocol::T1, &[("0EA40000 01 AA", "6101"), ("02C0000001", "77 9000")]);
    play_one("80A40000 01 AA", Protocol::T1, &[("80A40000 01 AA", "6101"), ("80C0000001", "77 9000")]);
}

#[test]
fn a_failed_fetch_hands_back_what_came_and_says_which_command_failed() {
    let told =
        play(&[command("00CA010000")], false, Protocol::T1, &[("00CA010000", "AA 6105"), ("00C0000005", "6D00")]);
    assert_eq!(told.results, ["AA 6D00"]);
    assert_eq!(told.sources, [StatusWordSource::GetResponse]);
}

#[test]
fn a_wrong_le_is_corrected_once_and_only_where_nothing_ran() {
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
fn a_fetch_with_a_wrong_le_is_corrected_too() {
    let script = [("00CA010000", "6105"), ("00C0000005", "6C03"), ("00C0000003", "AABBCC 9000")];
    assert_eq!(play_one("00CA010000", Protocol::T1, &script), "AABBCC 9000");
}

#[test]
fn commands_are_fitted_to_t0() {
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
fn what_t0_cannot_carry_is_refused_before_the_first_command_is_sent() {
    let long = format!("00D60000 00 0100 {}", "55".repeat(256));
    let commands = [command("00A40000"), command(&long)];
    let refused = UnitRun::new(&commands, false, Protocol::T0).err().unwrap();
    assert_eq!(refused.reason, Reason::UnsupportedLength);
    assert!(
        UnitRun::new(&commands, true, Protocol::T0).is_ok() && UnitRun::new(&commands, false, Protocol::T1).is_ok()
    );
}

#[test]
fn a_status_word_that_is_no_success_stops_the_unit_before_the_next_command() {
    let commands = [command("00200080 02 3131"), command("002A0000")];
    let told = play(&commands, false, Protocol::T1, &[("00200080 02 3131", "63C2")]);
    assert_eq!((told.results, told.stop), (vec![" 63C2".into()], Some(Reason::StatusWord)));
}

#[test]
fn the_last_command_may_answer_anything() {
    let told = play(
        &[command("00A40000"), command("00B00000")],
        false,
        Protocol::T1,
        &[("00A40000", "9000"), ("00B00000", "6A82")],
    );
    assert_eq!((told.results.len(), told.stop), (2, None));
}

#[test]
fn a_rule_of_ones_own_replaces_the_default() {
    let mut select = command("00A40000");
    select.continue_on = vec![StatusPattern { value: 0x6A82, mask: 0xFFFF }];
    let commands = [select, command("00B00000")];
    let told = play(&commands, false, Protocol::T1, &[("00A40000", "6A82"), ("00B00000", "9000")]);
    assert_eq!((told.results.len(), told.stop), (2, None));
    let told = play(&commands, false, Protocol::T1, &[("00A40000", "9000")]);
    assert_eq!(told.stop, Some(Reason::StatusWord));
}

#[test]
fn a_card_that_never_stops_offering_is_stopped_after_256_fetches() {
    let mut script = vec![("00CA010000", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "AA 6101"), 256));
    let told = play(&[command("00CA010000")], false, Protocol::T1, &script);
    assert_eq!(told.stop, Some(Reason::ResponseTooLarge));
    assert_eq!(told.partial.unwrap().len(), 2 * 256 + " 6101".len());
}

#[test]
fn the_256th_fetch_is_not_repeated_with_another_length() {
    let mut script = vec![("00A40400", "6101")];
    script.extend(std::iter::repeat_n(("00C0000001", "6101"), 255));
    script.push(("00C0000001", "6C02"));
    let told = play(&[command("00A40400")], false, Protocol::T1, &script);
    assert_eq!((told.stop, told.results.len()), (Some(Reason::ResponseTooLarge), 0));
}

#[test]
fn answers_that_would_not_fit_are_not_asked_for() {
    let commands = vec![command("00B00000 00 0000"); 20];
    let answer = format!("{} 9000", "AA".repeat(65_536));
    let script = vec![("00B00000 00 0000", &*answer); 15];
    let told = play(&commands, false, Protocol::T1, &script);
    assert_eq!((told.results.len(), told.stop), (15, Some(Reason::ResponseTooLarge)));
}

#[test]
fn an_answer_without_a_status_word_changes_nothing() {
    let commands = [command("00A40000")];
    let mut run = UnitRun::new(&commands, false, Protocol::T1).unwrap();
    assert_eq!(run.answered(&[0x90]), None);
    let again = Exchange { bytes: bytes("00A40000").into(), command: &commands[0], completes: false };
    assert_eq!(run.next(), Next::Exchange(again));
}
