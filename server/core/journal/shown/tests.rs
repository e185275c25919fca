//! Tests of the view that a trace gives of commands, by examples and by properties of random ones.

use std::sync::Arc;

use proptest::{
    collection::vec, prop_assert, prop_assert_eq, prop_oneof, strategy::Strategy, test_runner::TestCaseResult,
};

use super::{super::event::Sent, *};
use crate::{
    apdu::SecretInstructions,
    policy::rule::CommandPattern,
    properties::{holds, is_broken},
};

const DATA: [u8; 4] = [0xDE, 0xAD, 0xBE, 0xEF];

fn sent<'a>(command: &'a [u8], response: Option<&'a [u8]>, milliseconds: u64) -> Sent<'a> {
    let took = Duration::from_millis(milliseconds);
    Sent { index: 1, is_continuation: false, command, response, took }
}

fn mask() -> ExchangeMask {
    ExchangeMask::default()
}

fn configured(class: &str, instruction: &str, secrets: &[u8]) -> ExchangeMask {
    let pattern: CommandPattern =
        toml::from_str(&format!("class = \"{class}\"\ninstruction = \"{instruction}\"")).unwrap();
    let rules = ShownRules::new(SecretInstructions::new(secrets.iter().copied()), vec![pattern]);
    ExchangeMask::new(Arc::new(rules))
}

/// A command with data and Le.
fn command(class: u8, instruction: u8) -> Vec<u8> {
    [&[class, instruction, 0x00, 0x81, 4], &DATA[..], &[0]].concat()
}

/// Whether nothing of an exchange depends on the length of its data; checks that the view agrees with itself.
fn is_masked(mask: &mut ExchangeMask, class: u8, instruction: u8, word: u16) -> bool {
    let (command, response) = (command(class, instruction), [&DATA[..], &word.to_be_bytes()].concat());
    let (view, data) = mask.next(sent(&command, Some(&response), 3), true);
    let is_rounded = view.duration == ROUNDED_TO;
    assert_eq!(view.expected_length.is_none(), is_rounded, "{class:02X} {instruction:02X}");
    assert!(!is_rounded || data.is_none() && view.hides_data);
    is_rounded
}

#[test]
fn the_view_of_a_read_is_whole() {
    let (view, data) = mask().next(sent(&[0x00, 0xB0, 0x00, 0x02, 0x04], Some(&[1, 2, 3, 4, 0x90, 0x00]), 7), true);
    assert_eq!((view.header, view.expected_length), (Some([0x00, 0xB0, 0x00, 0x02]), Some(4)));
    assert_eq!((view.word.unwrap().text(false), view.duration.as_millis()), ("9000".into(), 7));
    assert!(view.hides_data);
    let data = data.unwrap();
    assert_eq!((&*data.command, data.response.as_deref()), (&[0, 0xB0, 0, 2, 4][..], Some(&[1, 2, 3, 4, 0x90, 0][..])));
    let (_, unwanted) = mask().next(sent(&[0x00, 0xB0, 0x00, 0x02, 0x04], Some(&[0x90, 0x00]), 7), false);
    assert_eq!(unwanted, None);
}

#[test]
fn the_application_of_a_select_by_name_is_shown() {
    let select = |class: u8, p1: u8, name: &[u8]| {
        let command = [&[class, 0xA4, p1, 0x00, u8::try_from(name.len()).unwrap()], name].concat();
        let (view, _) = mask().next(sent(&command, Some(&[0x90, 0x00]), 1), false);
        (view.application.map(|application| application.bytes().to_vec()), view.hides_data)
    };
    let name = [0xA0, 0x00, 0x00, 0x03, 0x08];
    assert_eq!(select(0x00, 0x04, &name), (Some(name.to_vec()), false));
    assert_eq!(select(0x41, 0x04, &[7; 16]), (Some(vec![7; 16]), false));
    assert_eq!(select(0x00, 0x04, &name[..4]), (None, true));
    assert_eq!(select(0x00, 0x04, &[7; 17]), (None, true));
    assert_eq!(select(0x00, 0x08, &name), (None, true));
    assert_eq!(select(0x80, 0x04, &name), (None, true));
    assert_eq!(select(0x10, 0x04, &name), (None, true));
}

#[test]
fn after_a_secret_three_words_are_shown() {
    let word = |word: u16| {
        let (view, _) = mask().next(sent(&command(0x00, 0x20), Some(&word.to_be_bytes()), 1), true);
        (view.word.unwrap().text(false), view.word.unwrap().text(true))
    };
    let same = |text: &str| (text.to_owned(), text.to_owned());
    assert_eq!([word(0x9000), word(0x6110), word(0x9F04)], ["9000"; 3].map(same));
    assert_eq!(word(0x63C2), ("63Cx".into(), "63C2".into()));
    assert_eq!([word(0x6700), word(0x6A80), word(0x6300), word(0x6C08)], ["error"; 4].map(same));
}

#[test]
fn durations_are_rounded_up_to_fifty_milliseconds() {
    let rounded = |micros: u64| super::rounded(Duration::from_micros(micros)).as_millis();
    assert_eq!([0, 1, 50_000, 50_001, 120_000].map(rounded), [50, 50, 50, 100, 150]);
    assert!(super::rounded(Duration::MAX) > Duration::from_secs(1_000_000));
}

#[test]
fn only_commands_known_to_be_harmless_are_shown() {
    let harmless = [0x22, 0x70, 0x84, 0xA0, 0xA1, 0xA2, 0xA4, 0xB0, 0xB1, 0xB2, 0xB3, 0xC0, 0xCA, 0xCB];
    for instruction in 0..=u8::MAX {
        for class in [0x00, 0x03, 0x40, 0x4F] {
            let expected = !harmless.contains(&instruction);
            assert_eq!(is_masked(&mut mask(), class, instruction, 0x9000), expected, "{class:02X} {instruction:02X}");
        }
        for class in [0x04, 0x0C, 0x10, 0x20, 0x60, 0x80, 0x84, 0x90, 0xA0, 0xC0, 0xE0] {
            assert!(is_masked(&mut mask(), class, instruction, 0x9000), "{class:02X} {instruction:02X}");
        }
        assert_eq!(is_masked(&mut mask(), 0xFF, instruction, 0x9000), instruction != 0xCA, "FF {instruction:02X}");
    }
}

#[test]
fn the_configuration_shows_and_hides_commands() {
    let shows = |mask: &mut ExchangeMask, class, instruction| {
        let command = command(class, instruction);
        mask.next(sent(&command, Some(&[0x90, 0x00]), 1), true).1.is_some()
    };
    assert!(shows(&mut configured("80", "1x", &[]), 0x80, 0x10));
    assert!(!shows(&mut configured("80", "1x", &[]), 0x80, 0x20));
    assert!(!shows(&mut configured("80", "20", &[]), 0x80, 0x20), "it presents a PIN");
    assert!(!shows(&mut configured("xx", "xx", &[0x10]), 0x80, 0x10), "it is named as a secret");
    assert!(!shows(&mut configured("84", "10", &[]), 0x84, 0x10), "secure messaging");
    assert!(!shows(&mut configured("90", "10", &[]), 0x90, 0x10), "a chain");
    assert!(!shows(&mut configured("xx", "B0", &[]), 0xFF, 0xB0), "the reader's class was not named");
    assert!(shows(&mut configured("FF", "B0", &[]), 0xFF, 0xB0));
    assert!(!shows(&mut configured("FF", "xx", &[]), 0xFF, 0x82), "it loads a key");
    let mut hides = configured("80", "10", &[0xB0]);
    assert!(is_masked(&mut hides, 0x00, 0xB0, 0x9000) && !is_masked(&mut hides, 0x00, 0xB2, 0x9000));
}

#[test]
fn the_rest_of_a_masked_response_is_masked() {
    for fetch in [0xC0, 0xA4] {
        let mut mask = mask();
        assert!(is_masked(&mut mask, 0x00, 0x2A, 0x6104));
        assert!(is_masked(&mut mask, 0x00, fetch, 0x6104));
        assert!(is_masked(&mut mask, 0x00, fetch, 0x9000));
        assert!(!is_masked(&mut mask, 0x00, fetch, 0x9000));
    }
    let mut mask = mask();
    assert!(!is_masked(&mut mask, 0x00, 0xA4, 0x6104));
    assert!(!is_masked(&mut mask, 0x00, 0xC0, 0x9000), "the exchange before it was shown");
}

#[test]
fn a_command_to_the_reader_does_not_end_what_a_masked_one_began() {
    let mut mask = mask();
    assert!(is_masked(&mut mask, 0x00, 0x2A, 0x6104));
    let reader = &[0xFF, 0xCA, 0x00, 0x00, 0x00];
    mask.next(sent(reader, Some(&[1, 2, 3, 4, 0x90, 0x00]), 3), true);
    assert!(is_masked(&mut mask, 0x00, 0xC0, 0x9000), "the card has its response still");
    assert!(!is_masked(&mut mask, 0x00, 0xC0, 0x9000));
}

#[test]
fn the_rest_stays_masked_after_a_refused_fetch() {
    // On T=0 with class 80, the broker fetches in class 00 and, if the card refuses that class, again in class 80.
    for word in [0x6C04, 0x6E00, 0x6D00, 0x6700, 0x6985, 0x6A86_u16] {
        let mut mask = mask();
        assert!(is_masked(&mut mask, 0x80, 0x2A, 0x6104));
        let (view, _) = mask.next(sent(&[0x00, 0xC0, 0, 0, 0], Some(&word.to_be_bytes()), 1), true);
        assert_eq!(view.word, Some(ShownWord::Error));
        assert!(is_masked(&mut mask, 0x00, 0xC0, 0x9000), "{word:04X}");
        assert!(!is_masked(&mut mask, 0x00, 0xC0, 0x9000), "{word:04X}: it was fetched");
    }
    let mut mask = mask();
    assert!(is_masked(&mut mask, 0x00, 0x20, 0x6D00));
    assert!(!is_masked(&mut mask, 0x00, 0xCA, 0x9000), "nothing was left to fetch");
}

#[test]
fn every_link_of_a_masked_chain_is_masked() {
    let mut mask = mask();
    assert!(is_masked(&mut mask, 0x10, 0xDB, 0x9000));
    assert!(is_masked(&mut mask, 0x00, 0xCB, 0x9000));
    assert!(!is_masked(&mut mask, 0x00, 0xCB, 0x9000));
}

#[test]
fn of_bytes_that_are_no_apdu_only_a_rounded_time_is_shown() {
    for unreadable in [&[0x00, 0xA4][..], b"\x00\xA4\x04\x00\x09\xDE\xAD\xBE\xEF", b"\x00\xB0\x00\x00\x00\x00"] {
        let mut mask = configured("xx", "xx", &[]);
        let (view, data) = mask.next(sent(unreadable, Some(&[0xDE, 0xAD, 0x90, 0x00]), 3), true);
        let nothing = CommandView {
            header: None,
            expected_length: None,
            application: None,
            word: None,
            duration: ROUNDED_TO,
            hides_data: true,
        };
        assert_eq!((view, data), (nothing, None));
        assert!(is_masked(&mut mask, 0x00, 0xA4, 0x9000), "it may continue them");
        assert!(!is_masked(&mut mask, 0x00, 0xA4, 0x9000));
    }
}

#[test]
fn debug_has_no_bytes() {
    let (view, data) = mask().next(sent(&[0, 0xA4, 4, 0, 5, 222, 222, 222, 222, 222], Some(&[0x90, 0x00]), 1), true);
    let debug = format!("{view:?} {data:?} {:?}", view.application);
    assert!(!debug.contains("222") && !debug.contains("164"), "{debug}");
}

/// Commands that present a secret, each with data of 1–32 bytes.
fn secrets() -> impl Strategy<Value = (u8, u8)> {
    let classes = prop_oneof![0_u8..0x20, 0x40_u8..0x80, 0x80_u8..=0xFF];
    let instructions = prop_oneof![0x20_u8..0x2E, 0x82_u8..0x84, 0x86_u8..0x8A, 0xD0_u8..0xE9];
    // MANAGE SECURITY ENVIRONMENT names a key and presents none.
    (classes, instructions.prop_filter("presents a secret", |instruction| *instruction != 0x22))
}

/// Checks that the views of two commands that differ only in their secret, and in the time inside the same 50 ms, are
/// identical, and those of the exchanges after them. `shows` plants a fault.
fn is_independent(
    ((class, instruction), one, other): ((u8, u8), Vec<u8>, Vec<u8>),
    (word, times): (u16, [u64; 2]),
    shows: bool,
) -> TestCaseResult {
    let views = [one, other].map(|secret| {
        let command = [&[class, instruction, 0, 0x80, u8::try_from(secret.len()).unwrap()], &secret[..]].concat();
        let answer = [&secret[..], &word.to_be_bytes()].concat();
        (command, answer)
    });
    let seen = views.iter().zip(times).map(|((command, answer), time)| {
        let mut mask = mask();
        let mut first = mask.next(sent(command, Some(answer), time), true);
        if shows {
            first.0.expected_length = u32::try_from(command.len()).ok();
        }
        // The rest of the answer has the length of the secret, too.
        let length = u8::try_from(answer.len()).unwrap();
        let rest = mask.next(sent(&[0x00, 0xC0, 0, 0, length], Some(answer), time), true);
        (first, (word >> 8 == 0x61).then_some(rest))
    });
    let seen: Vec<_> = seen.collect();
    prop_assert_eq!(&seen[0], &seen[1], "nothing depends on the secret");
    let (view, data) = &seen[0].0;
    prop_assert!(data.is_none() && view.duration.as_millis() % 50 == 0, "nothing depends on the secret");
    Ok(())
}

#[test]
fn secrets_that_differ_in_length_and_time_look_the_same() {
    let commands = || (secrets(), vec(0_u8..=255, 1..33), vec(0_u8..=255, 1..33));
    let answers = || {
        let words = prop_oneof![
            proptest::strategy::Just(0x9000_u16),
            0x6100_u16..0x6200,
            0x63C0_u16..0x63D0,
            0x6700_u16..0x6F00
        ];
        let times = (0_u64..5, 1_u64..=50, 1_u64..=50);
        (words, times.prop_map(|(units, one, other)| [units * 50 + one, units * 50 + other]))
    };
    holds(2_000, (commands(), answers()), |(command, answer)| is_independent(command, answer, false));
    let broken = |(command, answer)| is_independent(command, answer, true);
    is_broken(500, (commands(), answers()), broken, "shows Le", "nothing depends on the secret");
}
