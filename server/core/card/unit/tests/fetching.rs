//! The class of GET RESPONSE, on cards that accept one class and, after they refuse another, keep or drop their answer.

use super::*;
use crate::simulated_card::{CardOptions, Reaction, SimulatedCard};

/// A card that answers every command with `6103` and returns the data in one class.
struct Card {
    class: u8,
    /// The answer to GET RESPONSE in another class, and without an offered answer.
    refusal: u16,
    /// Whether the answer can still be fetched after a refused GET RESPONSE.
    keeps: bool,
    offered: bool,
    /// Class and instruction of each GET RESPONSE so far.
    seen: Vec<[u8; 2]>,
}

impl Card {
    fn new(class: u8, refusal: u16, keeps: bool) -> Self {
        Self { class, refusal, keeps, offered: false, seen: Vec::new() }
    }

    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let [class, instruction, ..] = *command else { panic!("no command") };
        if !matches!(instruction, GET_RESPONSE | 0xA5) {
            self.offered = true;
            return vec![0x61, 0x03];
        }
        self.seen.push([class, instruction]);
        if class == self.class && self.offered {
            self.offered = false;
            return vec![1, 2, 3, 0x90, 0x00];
        }
        self.offered &= self.keeps;
        self.refusal.to_be_bytes().to_vec()
    }

    /// Runs one command and returns its complete or partial result, and the stop.
    fn run(&mut self, command: UnitCommand, protocol: Protocol) -> (CommandResult, Option<Failure>) {
        let commands = [command, super::command("00B00000")];
        let mut run = UnitRun::new(&commands, protocol).unwrap();
        loop {
            match run.next() {
                Next::Finished(stop) => return (run.take_partial().expect("no command has run"), stop),
                Next::Exchange(exchange) => {
                    let answer = self.transmit(exchange.bytes());
                    if let Some(result) = run.answered(&answer, TOOK) {
                        return (result, None);
                    }
                }
            }
        }
    }
}

fn is_whole(result: &CommandResult, stop: Option<&Failure>) -> bool {
    stop.is_none() && (&*result.data, result.status_word) == (&[1, 2, 3], StatusWord(0x9000))
}

fn is_lost(result: &CommandResult, stop: Option<&Failure>) -> bool {
    let ends_as_lost = stop.is_some_and(|stop| {
        (stop.reason, stop.delivery) == (Reason::ResponseLost, Delivery::Executed)
            && stop.message.contains("continue_class")
    });
    ends_as_lost && (&*result.data, result.status_word, result.source) == (&[], StatusWord(0x6103), COMMAND)
}

const COMMAND: StatusWordSource = StatusWordSource::Command;

/// Protocol, class of the command, and the classes that fetch its answer, in order.
const CLASSES: &[(Protocol, u8, &[u8])] = &[
    (Protocol::T0, 0x00, &[0x00]),
    (Protocol::T0, 0x0C, &[0x00]),
    (Protocol::T0, 0x12, &[0x02]),
    (Protocol::T0, 0x45, &[0x45]),
    (Protocol::T0, 0x61, &[0x41]),
    (Protocol::T0, 0x80, &[0x00, 0x80]),
    (Protocol::T0, 0x84, &[0x00, 0x80]),
    (Protocol::T0, 0x81, &[0x01, 0x81]),
    (Protocol::T0, 0x8F, &[0x03, 0x83]),
    (Protocol::T0, 0xE0, &[0x40, 0xC0]),
    (Protocol::T0, 0xEF, &[0x4F, 0xCF]),
    (Protocol::T0, 0x90, &[0x90]),
    (Protocol::T0, 0xA0, &[0xA0]),
    (Protocol::T0, 0xC0, &[0xC0]),
    (Protocol::T0, 0xFF, &[0xFF]),
    (Protocol::T1, 0x00, &[0x00]),
    (Protocol::T1, 0x0E, &[0x02]),
    (Protocol::T1, 0x7F, &[0x4F]),
    (Protocol::T1, 0x80, &[0x80, 0x00]),
    (Protocol::T1, 0x84, &[0x80, 0x00]),
    (Protocol::T1, 0x8D, &[0x81, 0x01]),
    (Protocol::T1, 0xE3, &[0xC3, 0x43]),
    (Protocol::T1, 0xA0, &[0xA0]),
    (Protocol::T1, 0xC0, &[0xC0]),
    (Protocol::T1, 0xFF, &[0xFF]),
    (Protocol::Raw, 0x80, &[0x80, 0x00]),
    (Protocol::Raw, 0x00, &[0x00]),
];

#[test]
fn the_class_follows_protocol_and_command_with_one_further_try() {
    for &(protocol, class, tried) in CLASSES {
        for refusal in [0x6E00, 0x6D00] {
            for (taken, keeps) in (0..=u8::MAX).flat_map(|taken| [(taken, true), (taken, false)]) {
                let case = format!("{protocol:?} {class:02X}, the card takes {taken:02X}, {refusal:04X}, {keeps}");
                let mut card = Card::new(taken, refusal, keeps);
                let (result, stop) = card.run(command(&format!("{class:02X}F20000")), protocol);
                let found = tried.iter().position(|class| *class == taken);
                let tries = found.map_or(tried.len(), |found| found + 1);
                let expected: Vec<_> = tried[..tries].iter().map(|class| [*class, GET_RESPONSE]).collect();
                assert_eq!(card.seen, expected, "{case}");
                let is_there = found == Some(0) || found == Some(1) && keeps;
                assert_eq!(is_whole(&result, stop.as_ref()), is_there, "{case}");
                assert_eq!(is_lost(&result, stop.as_ref()), !is_there, "{case}");
                assert_eq!(result.get_response_count as usize, tries, "{case}");
                assert_eq!(result.card_duration, TOOK * (1 + tries as u32), "{case}");
            }
        }
    }
}

#[test]
fn the_callers_class_is_the_only_one_tried() {
    for protocol in [Protocol::T0, Protocol::T1] {
        for (command_class, chosen) in [("80", 0x80), ("80", 0x00), ("84", 0x84), ("00", 0x80), ("C1", 0x41)] {
            let asking = || command(&format!("{command_class}F20000")).continue_in(chosen).unwrap();
            let mut card = Card::new(chosen, 0x6E00, true);
            let (result, stop) = card.run(asking(), protocol);
            assert!(is_whole(&result, stop.as_ref()), "{command_class} {chosen:02X}");
            let mut card = Card::new(0x01, 0x6E00, true);
            let (result, stop) = card.run(asking(), protocol);
            assert!(is_lost(&result, stop.as_ref()), "{command_class} {chosen:02X}");
            assert_eq!(card.seen, [[chosen, GET_RESPONSE]]);
        }
    }
}

#[test]
fn the_callers_instruction_is_tried_in_both_classes() {
    for (protocol, seen) in [(Protocol::T0, [0x00, 0x80]), (Protocol::T1, [0x80, 0x00])] {
        let mut oath = command("80A1000000");
        oath.continue_instruction = Some(0xA5);
        let mut card = Card::new(seen[1], 0x6D00, true);
        let (result, stop) = card.run(oath, protocol);
        assert!(is_whole(&result, stop.as_ref()));
        assert_eq!(card.seen, seen.map(|class| [class, 0xA5]));
    }
}

#[test]
fn the_callers_class_must_have_the_commands_channel() {
    for (class, chosen, is_same) in [
        ("00", 0x00, true),
        ("00", 0x0C, true),
        ("00", 0x01, false),
        ("00", 0x40, false),
        ("41", 0x61, true),
        ("41", 0x05, false),
        ("84", 0x00, true),
        ("82", 0x02, true),
        ("82", 0x00, false),
        ("E1", 0x41, true),
        ("FF", 0xFF, true),
        ("FF", 0x00, false),
        ("00", 0xFF, false),
        ("EF", 0xFF, false),
    ] {
        let chosen = command(&format!("{class}A40000")).continue_in(chosen);
        assert_eq!(chosen.is_ok(), is_same, "{class} {chosen:?}");
    }
    assert!(raw("00").continue_in(0xFF).is_ok(), "raw commands ignore the class");
}

#[test]
fn data_before_a_lost_rest_is_kept() {
    let played = play(&[command("00CA010000")], Protocol::T1, &[("00CA010000", "AA 6105"), ("00C0000005", "6D00")]);
    assert_eq!((played.stop, played.delivery), (Some(Reason::ResponseLost), Some(Delivery::Executed)));
    assert_eq!((played.results.len(), played.partial.as_deref()), (0, Some("AA 6105")));
}

#[test]
fn only_the_first_get_response_has_a_further_try() {
    let select = "80F20000";
    let lost = |script: &[(&str, &str)]| {
        let played = play(&[command(select)], Protocol::T1, script);
        assert_eq!(played.partial.is_some(), played.stop.is_some());
        played.stop == Some(Reason::ResponseLost)
    };
    for word in ["6985", "6D00", "6E00", "6F00", "6700"] {
        assert!(lost(&[(select, "6103"), ("80C0000003", "6E00"), ("00C0000003", word)]), "{word}");
    }
    assert!(!lost(&[(select, "6103"), ("80C0000003", "6E00"), ("00C0000003", "AA 6985")]), "a part was returned");
    assert!(!lost(&[(select, "6103"), ("80C0000003", "6985")]), "the card reports on its answer");
    assert!(lost(&[(select, "6103"), ("80C0000003", "6C02"), ("80C0000002", "6E00")]), "the class was right");
    assert!(!lost(&[(select, "6103"), ("80C0000003", "AA 6102"), ("80C0000002", "6E00")]), "in mid-chain");
    assert!(!lost(&[
        (select, "6103"),
        ("80C0000003", "6D00"),
        ("00C0000003", "6C02"),
        ("00C0000002", "AA 6101"),
        ("00C0000001", "BB 9000"),
    ]));
}

#[test]
fn the_policy_sees_only_headers_of_the_callers_choice() {
    let read = |class| Header::Read([class, GET_RESPONSE, 0, 0]);
    let own = Header::Read([0x80, 0xF2, 0, 0]);
    let mut oath = command("80F20000");
    oath.continue_instruction = Some(0xA5);
    let headers_of = |command: UnitCommand| headers(&[command]).map(|(_, headers)| headers).collect::<Vec<_>>();
    assert_eq!(headers_of(command("80F20000")), [[own; 2]]);
    assert_eq!(headers_of(command("80F20000").continue_in(0x84).unwrap()), [[own; 2], [read(0x84); 2]]);
    let continuing = [0x00, 0x80].map(|class| Header::Read([class, 0xA5, 0, 0]));
    assert_eq!(headers_of(oath.clone()), [[own; 2], continuing]);
    assert_eq!(headers_of(raw("80F20000").continue_in(0x84).unwrap()), [[own; 2]]);
    assert_eq!(headers_of(raw("80F2")), [[Header::Unreadable; 2]]);

    for (command, fetches) in [
        (command("80F20000"), None),
        (command("80F20000").continue_in(0x80).unwrap(), Some(read(0x80))),
        (oath, Some(Header::Read([0x80, 0xA5, 0, 0]))),
    ] {
        let commands = [command];
        let mut run = UnitRun::new(&commands, Protocol::T1).unwrap();
        let header = |run: &UnitRun<'_>| match run.next() {
            Next::Exchange(exchange) => exchange.header_of_choice(),
            Next::Finished(_) => panic!("the unit has ended"),
        };
        assert_eq!(header(&run), Some(own));
        run.answered(&[0x61, 0x03], TOOK);
        assert_eq!(header(&run), fetches);
    }
}

#[test]
fn the_simulated_card_returns_its_answer_in_its_class_only() {
    for (protocol, taken, keeps, is_there) in [
        (Protocol::T0, "00", "00", true),
        (Protocol::T0, "80", "00", false),
        (Protocol::T0, "80", "01", true),
        (Protocol::T1, "80", "00", true),
        (Protocol::T1, "00", "00", false),
        (Protocol::T1, "00", "01", true),
        (Protocol::T1, "84", "01", false),
    ] {
        let mut card = SimulatedCard::new(CardOptions { protocol, ..CardOptions::default() });
        card.reset();
        let commands = [command(&format!("801A{taken}{keeps}00"))];
        let mut run = UnitRun::new(&commands, protocol).unwrap();
        let (mut result, mut stop) = (None, None);
        while result.is_none() && stop.is_none() {
            match run.next() {
                Next::Finished(why) => stop = why.map(|failure| failure.reason),
                Next::Exchange(exchange) => match card.transmit(exchange.bytes()) {
                    Reaction::Answer { answer, .. } => result = run.answered(&answer, TOOK),
                    other => panic!("{other:?}"),
                },
            }
        }
        assert_eq!(result.map(|result| result.data.len()), is_there.then_some(5), "{protocol:?} {taken} {keeps}");
        assert_eq!(stop, (!is_there).then_some(Reason::ResponseLost), "{protocol:?} {taken} {keeps}");
    }
}

#[test]
fn a_pair_is_open_until_its_chain_or_its_answer_is_complete() {
    let commands =
        [command("1020008001 31"), command("00A40400"), raw("00A4040000"), raw("00C0000002"), command("00B0000001")];
    let mut run = UnitRun::new(&commands, Protocol::T1).unwrap();
    let answers: [(&[u8], bool); 6] = [
        (&[0x90, 0x00], true),
        (&[0x61, 0x01], true),
        (&[0xAA, 0x90, 0x00], false),
        (&[0x9F, 0x02], true),
        (&[0xAA, 0xBB, 0x90, 0x00], false),
        (&[0x90, 0x00], false),
    ];
    assert!(!run.is_pair_open());
    for (answer, is_open) in answers {
        run.answered(answer, Duration::ZERO);
        assert_eq!(run.is_pair_open(), is_open, "{answer:02X?}");
    }
}
