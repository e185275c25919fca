//! Random presentations in every form, against a model of an OpenPGP card: a wrong value costs one try, two where the
//! card answers with `6982`, and a correct value always passes; and the test finds each planted fault.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::properties::{holds, is_broken};

const CASES: u32 = 300;
const TRIES: u8 = 15;
const NAME: &[u8] = b"\xD2\x76\x00\x01\x24\x01\x03\x04\x00\x06\x12\x34\x56\x78\x00\x00";
/// Values of PW1, with different last bytes. Those of the other counters are two bytes longer.
const VALUES: [&[u8]; 4] = [b"111111", b"222222", b"333333", b"111114"];
/// The counters of PW1, PW3 and the resetting code.
const COUNTERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Event {
    Present {
        counter: usize,
        value: usize,
        form: Form,
        /// Whether the card refuses it with `6982` before it compares the value.
        is_unready: bool,
    },
    /// SELECT by so many bytes of the name.
    Select(usize),
    Read,
    Reset,
    AnotherCard(usize),
}

/// The form of a presentation.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// CHANGE REFERENCE DATA with this new value.
    new: Option<usize>,
    second_reference: bool,
    is_extended: bool,
    /// In data objects, by the odd instruction.
    in_objects: bool,
    /// The length of the first link.
    first_link: Option<usize>,
    channel: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Off,
    /// The application has another name.
    OtherApplication,
    NameIsNotConfirmed,
    LinkIsNotSeen,
    SuccessIsNotSeen,
    UnreadinessIsRejection,
    AnotherCardIsNotSeen,
}

fn events() -> impl Strategy<Value = (bool, Vec<Event>)> {
    let form = (
        prop::option::weighted(0.3, 0..VALUES.len()),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.3, 0..9_usize),
        0..2_u8,
    );
    let form = form.prop_map(|(new, second_reference, is_extended, in_objects, first_link, channel)| Form {
        new,
        second_reference,
        is_extended,
        in_objects,
        first_link,
        channel,
    });
    let present = (0..COUNTERS, 0..VALUES.len(), form, prop::bool::weighted(0.1))
        .prop_map(|(counter, value, form, is_unready)| Event::Present { counter, value, form, is_unready });
    let event = prop_oneof![
        14 => present,
        3 => prop_oneof![Just(5), Just(6), Just(16)].prop_map(Event::Select),
        1 => Just(Event::Read),
        1 => Just(Event::Reset),
        1 => (0..VALUES.len()).prop_map(Event::AnotherCard),
    ];
    (any::<bool>(), vec(event, 0..40))
}

/// The commands of a presentation: links, and the last one.
fn commands(counter: usize, value: usize, form: Form) -> Vec<Vec<u8>> {
    let object = |value: &[u8]| [&[0x80, value.len() as u8], value].concat();
    let bytes = |counter: usize, value: usize| [VALUES[value], if counter == 0 { b"" } else { b"77" }].concat();
    let new = match counter {
        2 => Some(bytes(0, form.new.unwrap_or_default())),
        _ => form.new.map(|new| bytes(counter, new)),
    };
    let values = [Some(bytes(counter, value)), new].into_iter().flatten();
    let data: Vec<u8> = values.flat_map(|value| if form.in_objects { object(&value) } else { value }).collect();
    let instruction = match (counter, form.new) {
        (2, _) => 0x2C,
        (_, Some(_)) => 0x24,
        (_, None) => 0x20,
    } | u8::from(form.in_objects);
    let reference = [0x81 + u8::from(form.second_reference), 0x83, 0x81][counter];
    let command = |class: u8, data: &[u8]| {
        let length = data.len() as u8;
        let length = match (data.is_empty(), form.is_extended) {
            (true, _) => vec![],
            (_, true) => vec![0, 0, length],
            (_, false) => vec![length],
        };
        [&[class | form.channel, instruction, 0, reference][..], &length, data].concat()
    };
    match form.first_link {
        None => vec![command(0x00, &data)],
        Some(at) => {
            let (first, last) = data.split_at(at.min(data.len()));
            vec![command(0x10, first), command(0x00, last)]
        }
    }
}

struct Card {
    values: [usize; COUNTERS],
    tries: [u8; COUNTERS],
    hides_tries: bool,
}

impl Card {
    fn new(value: usize, hides_tries: bool) -> Self {
        Self { values: [value; COUNTERS], tries: [TRIES; COUNTERS], hides_tries }
    }

    /// Compares a value; returns the status word.
    fn compare(&mut self, counter: usize, value: usize, changes: bool) -> u16 {
        if self.tries[counter] == 0 {
            return 0x6983;
        }
        if self.values[counter] == value {
            self.tries[counter] = TRIES;
            return 0x9000;
        }
        self.tries[counter] -= 1;
        match (self.hides_tries, changes) {
            (true, _) => 0x6982,
            (false, true) => 0x6300,
            (false, false) => 0x63C0 | u16::from(self.tries[counter]),
        }
    }
}

/// Sends a command to which the card answers `answer`; `false` if the guard refuses it.
fn send(reader: &mut Reader, bytes: &[u8], answer: &[u8], is_seen: bool) -> bool {
    let command = ParsedCommand::parse(bytes);
    let Ok(passed) = reader.guard.admit(&command, Allowed::default(), &reader.view) else { return false };
    if is_seen {
        reader.guard.sends(passed);
        reader.view.sends(&command);
        reader.view.answered(answer);
        if let Some(name) = reader.view.take_confirmed_name() {
            reader.guard.confirmed(name);
        }
        reader.guard.answered(answer);
    }
    true
}

fn select(reader: &mut Reader, bytes: usize, fault: Option<Fault>) {
    let mut name = NAME.to_vec();
    if fault == Some(Fault::OtherApplication) {
        name[4] = 0x25;
    }
    let fci = [&[0x6F, name.len() as u8 + 2, 0x84, name.len() as u8], &name[..], &[0x90, 0x00]].concat();
    let answer = if fault == Some(Fault::NameIsNotConfirmed) { &fci[fci.len() - 2..] } else { &fci };
    for class in 0..2 {
        let select = [&[class, 0xA4, 0x04, 0x00, bytes as u8], &name[..bytes]].concat();
        send(reader, &select, answer, true);
    }
}

fn play((hides_tries, events): &(bool, Vec<Event>), fault: Option<Fault>) -> TestCaseResult {
    let mut reader = Reader::new(fault != Some(Fault::Off), false);
    let mut card = Card::new(0, *hides_tries);
    // The tries that each value has cost each counter since it could last become correct.
    let mut costs = HashMap::<(usize, usize), u8>::new();
    select(&mut reader, 6, fault);
    for event in events.iter().copied() {
        match event {
            Event::Select(bytes) => select(&mut reader, bytes, fault),
            Event::Read => prop_assert!(send(&mut reader, &[0, 0xB0, 0, 0, 0], &[0x90, 0x00], true)),
            Event::Reset => {
                reader.reset();
                select(&mut reader, 16, fault);
            }
            Event::AnotherCard(value) => {
                card = Card::new(value, *hides_tries);
                costs.clear();
                reader.reset();
                if fault != Some(Fault::AnotherCardIsNotSeen) {
                    reader.guard.forget();
                }
                select(&mut reader, 6, fault);
            }
            Event::Present { counter, value, form, is_unready } => {
                let commands = commands(counter, value, form);
                let (last, links) = commands.split_last().unwrap();
                let is_link_seen = fault != Some(Fault::LinkIsNotSeen);
                let passes = links.iter().all(|link| send(&mut reader, link, &[0x90, 0x00], is_link_seen));
                prop_assert!(passes, "a link was refused");
                let parsed = ParsedCommand::parse(&last[..]);
                if reader.guard.admit(&parsed, Allowed::default(), &reader.view).is_err() {
                    prop_assert!(card.values[counter] != value, "a correct value was refused");
                    // Ends the chain.
                    send(&mut reader, &[0, 0xB0, 0, 0, 0], &[0x90, 0x00], true);
                    continue;
                }
                let changes = form.new.is_some() || counter == 2;
                let word = if is_unready { 0x6982 } else { card.compare(counter, value, changes) };
                let seen = match (word, fault) {
                    (0x6982, Some(Fault::UnreadinessIsRejection)) => 0x6300,
                    (0x9000, Some(Fault::SuccessIsNotSeen)) => 0x6A80,
                    _ => word,
                };
                send(&mut reader, last, &seen.to_be_bytes(), true);
                match word {
                    0x9000 => {
                        if let Some(new) = form.new.filter(|_| counter != 2) {
                            card.values[counter] = new;
                        }
                        costs.retain(|(other, _), _| !changes && *other != counter);
                    }
                    0x6983 => costs.retain(|(other, _), _| *other != counter),
                    _ if is_unready => {
                        // A correct value that is not compared twice counts as wrong: the answers do not differ.
                        let cost = costs.entry((counter, value)).or_default();
                        if card.values[counter] == value && *cost >= 1 {
                            return Ok(());
                        }
                        *cost += u8::from(card.values[counter] == value);
                    }
                    _ => {
                        let cost = costs.entry((counter, value)).or_default();
                        *cost += 1;
                        prop_assert!(*cost <= 1 + u8::from(*hides_tries), "a wrong value cost {cost} tries");
                        if card.tries[counter] == 0 {
                            costs.retain(|(other, _), _| *other != counter);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_wrong_value_costs_one_try_in_random_forms() {
    holds(CASES, events(), |events| play(&events, None));
}

#[test]
fn every_planted_fault_is_found() {
    let (refused, cost) = ("a correct value was refused", "a wrong value cost");
    for (fault, rule) in [
        (Fault::Off, cost),
        (Fault::OtherApplication, cost),
        (Fault::NameIsNotConfirmed, cost),
        (Fault::LinkIsNotSeen, cost),
        (Fault::SuccessIsNotSeen, refused),
        (Fault::UnreadinessIsRejection, refused),
        (Fault::AnotherCardIsNotSeen, refused),
    ] {
        is_broken(CASES, events(), |events| play(&events, Some(fault)), fault, rule);
    }
}
