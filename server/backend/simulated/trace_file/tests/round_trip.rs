//! The round trip: the commands of a simulated card are traced into a file, and its replay gives the same answers.

use std::time::Duration;

use cardbroker_core::{
    apdu::{CommandApdu, StopRule},
    card::unit::{Next, UnitCommand, UnitRun},
    journal::{CommandFacts, ExchangeMask, Sent},
    properties::{holds, is_broken},
    simulated_card::{CardOptions, EndCause, Reaction, ReplayedCard, SimulatedCard},
};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use serde_json::json;

use super::*;

/// An event at a card.
#[derive(Debug, Clone)]
enum Act {
    /// A unit of commands whose data a trace shows.
    Unit(Vec<Vec<u8>>),
    Reset,
    /// The card is replaced by another one.
    Swap,
}

/// The events at a reader, and the differences in the replay.
#[derive(Debug, Clone)]
struct Case {
    protocol: Protocol,
    acts: Vec<Act>,
    /// Whether the card is reset before each unit of the replay.
    resets_more: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let protocol = prop_oneof![Just(Protocol::T0), Just(Protocol::T1)];
    let unit = vec(command(), 1..6).prop_map(Act::Unit);
    let act = prop_oneof![8 => unit, 1 => Just(Act::Reset), 1 => Just(Act::Swap)];
    let case = (protocol, vec(act, 1..12), any::<bool>());
    case.prop_map(|(protocol, acts, resets_more)| Case { protocol, acts, resets_more })
}

/// A command on the allow-list of traces.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let with_le = |header: [u8; 4]| any::<u8>().prop_map(move |le| [&header[..], &[le]].concat());
    let select = |name: Vec<u8>| [&[0x00, 0xA4, 0x04, 0x00, name.len() as u8][..], &name].concat();
    let le = prop_oneof![Just(Vec::new()), Just(vec![0]), any::<u8>().prop_map(|le| vec![le])];
    prop_oneof![
        le.prop_map(move |le| [select(b"\xF0CARD\x01".to_vec()), le].concat()),
        vec(any::<u8>(), 1..17).prop_map(select),
        with_le([0x00, 0xB2, 0x01, 0x04]),
        (0_u8..5, any::<u8>(), any::<u8>()).prop_map(|(high, low, le)| vec![0x00, 0xB0, high, low, le]),
        with_le([0x00, 0xB0, 0x81, 0x00]),
        with_le([0x00, 0xCA, 0x01, 0x00]),
        with_le([0x00, 0xC0, 0x00, 0x00]),
        Just(vec![0x00, 0xA2, 0x00, 0x00]),
    ]
}

/// The answers of a unit, with the status word at the end of each.
fn run(
    unit: &[Vec<u8>],
    protocol: Protocol,
    mut transmit: impl FnMut(&[u8]) -> Reaction,
    mut seen: impl FnMut(Sent<'_>),
) -> Vec<Vec<u8>> {
    let command = |bytes: &Vec<u8>| {
        let mut command = UnitCommand::from(CommandApdu::parse(bytes.as_slice()).unwrap());
        command.stop_rule = StopRule::Any;
        command
    };
    let commands: Vec<_> = unit.iter().map(command).collect();
    let (mut run, mut answers) = (UnitRun::new(&commands, protocol).unwrap(), Vec::new());
    while let Next::Exchange(exchange) = run.next() {
        let Reaction::Answer { answer, .. } = transmit(exchange.bytes()) else { break };
        seen(Sent {
            index: exchange.index as u32 + 1,
            is_continuation: exchange.completes,
            command: exchange.bytes(),
            response: Some(&answer),
            took: Duration::ZERO,
        });
        let result = run.answered(&answer, Duration::ZERO);
        answers.extend(result.map(|result| [&result.data[..], &result.status_word.0.to_be_bytes()].concat()));
    }
    answers
}

/// A reader that is traced: its card, and the file so far.
struct Traced {
    card: SimulatedCard,
    mask: ExchangeMask,
    number: i64,
    file: String,
}

impl Traced {
    fn new(protocol: Protocol) -> Self {
        let card = SimulatedCard::new(CardOptions { protocol, ..CardOptions::default() });
        let mut traced = Self { card, mask: ExchangeMask::default(), number: 0, file: String::new() };
        traced.insert("card_present", protocol, 0);
        traced
    }

    fn write(&mut self, mut line: serde_json::Value) {
        self.number += 1;
        line["reader"] = "readers/desk".into();
        line["number"] = self.number.into();
        self.file += &format!("{line}\n");
    }

    fn insert(&mut self, event: &str, protocol: Protocol, serial: u32) {
        self.card = SimulatedCard::new(CardOptions { protocol, serial, ..CardOptions::default() });
        let atr = self.card.reset().unwrap();
        let name = format!("{protocol:?}");
        let (id, atr) = (format!("e1-{serial}"), hex::encode_upper(atr));
        self.write(json!({ "event": event, "insertion_id": id, "atr": atr, "protocol": name }));
    }

    /// Acts on the card; returns the answers of a unit.
    fn act(&mut self, act: &Act) -> Vec<Vec<u8>> {
        let protocol = self.card.options().protocol;
        match act {
            Act::Unit(unit) => {
                let (mut lines, Self { card, mask, .. }) = (Vec::new(), &mut *self);
                let answers = run(unit, protocol, |bytes| card.transmit(bytes), |sent| lines.push(line(sent, mask)));
                lines.into_iter().for_each(|line| self.write(line));
                answers
            }
            Act::Reset => {
                self.card.reset();
                self.write(json!({ "event": "reset", "is_cold": false, "failed": false, "duration_ms": 1.0 }));
                Vec::new()
            }
            Act::Swap => {
                let serial = self.card.options().serial + 1;
                self.write(json!({ "event": "card_removed" }));
                self.insert("card_inserted", protocol, serial);
                Vec::new()
            }
        }
    }
}

/// The line of a command, as a trace with data shows it.
fn line(sent: Sent<'_>, mask: &mut ExchangeMask) -> serde_json::Value {
    let facts = CommandFacts::of(sent, mask, true);
    let data = facts.data.expect("only commands that are not masked");
    json!({
        "event": "command",
        "is_recorded": false,
        "is_continuation": facts.is_continuation,
        "header": facts.view.header.map(hex::encode_upper),
        "failed": false,
        "command": hex::encode_upper(&*data.command),
        "response": data.response.as_deref().map(hex::encode_upper),
    })
}

/// The replay of the traced commands gives the same answers, after a change of the file by `plant`.
fn returns_unchanged(case: Case, plant: impl Fn(String) -> String) -> TestCaseResult {
    let Case { protocol, acts, resets_more } = case;
    let mut traced = Traced::new(protocol);
    let answers: Vec<_> = acts.iter().map(|act| (traced.act(act), traced.card.atr())).collect();
    let mut readers = parsed(&plant(traced.file)).map_err(TestCaseError::fail)?;
    let cards = readers.remove("desk").unwrap_or_default();
    let Some(mut card) = ReplayedCard::first(cards.into()) else { return Ok(()) };
    card.reset();
    let mut has_run = false;
    for (act, (answers, atr)) in acts.iter().zip(answers) {
        match act {
            Act::Unit(unit) => {
                if resets_more {
                    card.reset();
                }
                let replayed = run(unit, protocol, |bytes| card.transmit(bytes), |_| {});
                prop_assert_eq!(replayed, answers, "the same answers");
                prop_assert_eq!((card.atr(), card.protocol()), (atr, protocol));
                has_run = true;
            }
            Act::Reset => prop_assert_eq!(card.reset().len(), atr.len()),
            // A card without commands is not in the replay.
            Act::Swap if has_run => {
                card = card.next().ok_or_else(|| TestCaseError::fail("the next card"))?;
                card.reset();
                has_run = false;
            }
            Act::Swap => {}
        }
    }
    let over = matches!(card.transmit(&[0; 4]), Reaction::ReplayEnded(end) if end.cause == EndCause::Over);
    prop_assert!(over && card.next().is_none(), "nothing is left");
    Ok(())
}

#[test]
fn a_thousand_random_traces_are_replayed() {
    holds(1_000, cases(), |case| returns_unchanged(case, |file| file));
}

#[test]
fn a_changed_file_is_not_the_same_trace() {
    let broken = |plant: fn(String) -> String, name, rule| {
        is_broken(300, cases(), |case| returns_unchanged(case, plant), name, rule);
    };
    broken(|file| file.replacen("6A82\"", "6A83\"", 1), "another status word", "the same answers");
    broken(|file| file.replacen("\"command\":\"00B0", "\"command\":\"00B1", 1), "another command", "the same answers");
    broken(
        |file| file.replace("card_removed", "card_molten").replace("card_inserted", "x"),
        "no swap",
        "the next card",
    );
    broken(|file| file + &command_line("desk", 1, "00A2000000", "6D00"), "a command more", "nothing is left");
}
