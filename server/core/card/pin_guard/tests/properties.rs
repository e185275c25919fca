//! Random histories: the guard refuses no correct PIN and sends no wrong one twice; and it finds each planted fault.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::*;
use crate::{
    keyed_hash::HashKey,
    properties::{holds, is_broken},
};

const CASES: u32 = 2000;
const TRIES: u8 = 15;
const NAMES: [&[u8]; 2] = [&[0xA0, 0x01], &[0xB0, 0x02]];

/// An event in one reader. Applications, PINs and values are numbers.
#[derive(Debug, Clone, Copy)]
enum Event {
    Select(usize),
    Verify {
        pin: usize,
        value: u8,
    },
    /// A VERIFY in bytes that are not an APDU.
    VerifyUnreadably {
        pin: usize,
        value: u8,
    },
    Change {
        pin: usize,
        old: u8,
        new: u8,
    },
    Unblock {
        pin: usize,
        code: u8,
        new: u8,
    },
    /// A change of a PIN by a proprietary command.
    Set {
        pin: usize,
        new: u8,
    },
    Ask {
        pin: usize,
    },
    Read,
    /// A proprietary command that only returns data.
    Inquire,
    Reset,
    AnotherCard {
        pin: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Off,
    ChangeIsNotSeen,
    SetIsNotSeen,
    WithoutApplication,
    ResetForgets,
    AnotherCardIsNotSeen,
    DataIsNotSeen,
    UnreadableIsNotSeen,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (pin, value) = (0..2_usize, 0..3_u8);
    let event = prop_oneof![
        3 => (0..2_usize).prop_map(Event::Select),
        12 => (pin.clone(), value.clone()).prop_map(|(pin, value)| Event::Verify { pin, value }),
        3 => (pin.clone(), value.clone()).prop_map(|(pin, value)| Event::VerifyUnreadably { pin, value }),
        3 => (pin.clone(), value.clone(), value.clone()).prop_map(|(pin, old, new)| Event::Change { pin, old, new }),
        3 => (pin.clone(), value.clone(), value.clone()).prop_map(|(pin, code, new)| Event::Unblock { pin, code, new }),
        1 => (pin.clone(), value.clone()).prop_map(|(pin, new)| Event::Set { pin, new }),
        1 => pin.prop_map(|pin| Event::Ask { pin }),
        1 => Just(Event::Read),
        1 => Just(Event::Inquire),
        1 => Just(Event::Reset),
        1 => value.prop_map(|pin| Event::AnotherCard { pin }),
    ];
    vec(event, 0..30)
}

/// A card with two applications, each with two PINs and one unblocking code. The first application is the default.
struct Card {
    pins: [[(u8, u8); 2]; 2],
    codes: [(u8, u8); 2],
    selected: usize,
}

impl Card {
    fn new(pin: u8) -> Self {
        Self { pins: [[(pin, TRIES); 2]; 2], codes: [(2, TRIES); 2], selected: 0 }
    }

    fn present(secret: &mut (u8, u8), value: u8) -> u16 {
        match secret {
            (_, 0) => 0x6983,
            (right, tries) if *right == value => {
                *tries = TRIES;
                0x9000
            }
            (_, tries) => {
                *tries -= 1;
                0x63C0 | u16::from(*tries)
            }
        }
    }

    /// Performs a command and returns its status word.
    fn transmit(&mut self, event: Event) -> u16 {
        let app = self.selected;
        match event {
            Event::Select(app) => self.selected = app,
            Event::Verify { pin, value } | Event::VerifyUnreadably { pin, value } => {
                return Self::present(&mut self.pins[app][pin], value);
            }
            Event::Change { pin, old, new } => {
                let word = Self::present(&mut self.pins[app][pin], old);
                if word == 0x9000 {
                    self.pins[app][pin].0 = new;
                }
                return word;
            }
            Event::Unblock { pin, code, new } => {
                let word = Self::present(&mut self.codes[app], code);
                if word == 0x9000 {
                    self.pins[app][pin] = (new, TRIES);
                }
                return word;
            }
            Event::Set { pin, new } => self.pins[app][pin] = (new, TRIES),
            Event::Ask { pin } => return 0x63C0 | u16::from(self.pins[app][pin].1),
            Event::Reset => self.selected = 0,
            Event::Read | Event::Inquire | Event::AnotherCard { .. } => {}
        }
        0x9000
    }

    fn is_right(&self, event: Event) -> bool {
        match event {
            Event::Verify { pin, value }
            | Event::VerifyUnreadably { pin, value }
            | Event::Change { pin, old: value, .. } => self.pins[self.selected][pin].0 == value,
            Event::Unblock { code, .. } => self.codes[self.selected].0 == code,
            _ => true,
        }
    }
}

fn command(event: Event) -> Vec<u8> {
    let reference = |pin: usize| 0x80 + pin as u8;
    match event {
        Event::Select(app) => [&[0x00, 0xA4, 0x04, 0x0C, 0x02], NAMES[app]].concat(),
        Event::Verify { pin, value } => vec![0x00, 0x20, 0x00, reference(pin), 1, value],
        Event::VerifyUnreadably { pin, value } => vec![0x00, 0x20, 0x00, reference(pin), 9, value],
        Event::Change { pin, old, new } => vec![0x00, 0x24, 0x00, reference(pin), 2, old, new],
        Event::Unblock { pin, code, new } => vec![0x00, 0x2C, 0x00, reference(pin), 2, code, new],
        Event::Set { pin, new } => vec![0x80, 0x24, 0x00, reference(pin), 1, new],
        Event::Ask { pin } => vec![0x00, 0x20, 0x00, reference(pin)],
        Event::Inquire => vec![0x80, 0x10, 0x00, 0x00, 0x01],
        Event::Read | Event::Reset | Event::AnotherCard { .. } => vec![0x00, 0xB0, 0x00, 0x00, 0x01],
    }
}

fn play(events: &[Event], fault: Option<Fault>) -> TestCaseResult {
    let guarded = Guarded { known_wrong: fault != Some(Fault::Off), last_try: false };
    let mut guard = PinGuard::new(guarded, HashKey::new(&[1; 64]));
    let (mut view, mut card) = (CardView::default(), Card::new(0));
    // The selected application, and the wrong values that it has received since they could last become correct.
    let (mut selected, mut tried) = (None, HashSet::new());
    // Whether the selection is certain, and whether the next command may continue an unreadable one.
    let (mut is_certain, mut may_continue) = (true, false);
    for event in events.iter().copied() {
        match event {
            Event::Reset => {
                card.transmit(event);
                view.reset();
                (selected, is_certain, may_continue) = (None, true, false);
                if fault == Some(Fault::ResetForgets) {
                    guard.forget();
                }
                continue;
            }
            Event::AnotherCard { pin } => {
                (card, selected, is_certain, may_continue) = (Card::new(pin), None, true, false);
                tried.clear();
                view.reset();
                if fault != Some(Fault::AnotherCardIsNotSeen) {
                    guard.forget();
                }
                continue;
            }
            _ => {}
        }
        let apdu = command(event);
        let parsed = ParsedCommand::parse(apdu.clone());
        let passed = match guard.admit(&parsed, Allowed::default(), &view) {
            Ok(passed) => passed,
            Err(refused) => {
                prop_assert_eq!(refused.reason, Reason::PinKnownWrong);
                prop_assert!(!card.is_right(event), "a correct value was refused");
                continue;
            }
        };
        let word = card.transmit(event);
        if word & 0xFFF0 == 0x63C0 && word != 0x63C0 && apdu.len() > 4 && is_certain {
            prop_assert!(tried.insert((selected, apdu.clone())), "a wrong value was sent twice");
        }
        let is_unseen = word == 0x9000
            && matches!(
                (fault, event),
                (Some(Fault::ChangeIsNotSeen), Event::Change { .. }) | (Some(Fault::SetIsNotSeen), Event::Set { .. })
            );
        let is_unreadable = matches!(event, Event::VerifyUnreadably { .. });
        let is_unseen = is_unseen || is_unreadable && fault == Some(Fault::UnreadableIsNotSeen);
        if !is_unseen {
            guard.sends(passed);
            let has_data = matches!(event, Event::Inquire) && fault != Some(Fault::DataIsNotSeen);
            let data: &[u8] = if has_data { &[0x01] } else { &[] };
            guard.answered(&[data, &word.to_be_bytes()].concat());
        }
        let may_select = is_unreadable || matches!(event, Event::Select(_));
        if fault != Some(Fault::WithoutApplication) || !may_select {
            view.sends(&parsed);
            view.answered(&word.to_be_bytes());
        }
        is_certain = match event {
            Event::Select(_) => !may_continue,
            _ => is_certain && !(is_unreadable && word == 0x9000),
        };
        may_continue = is_unreadable && word == 0x9000;
        match event {
            Event::Select(app) => selected = Some(app),
            Event::Verify { .. }
            | Event::VerifyUnreadably { .. }
            | Event::Change { .. }
            | Event::Unblock { .. }
            | Event::Set { .. }
                if matches!(word, 0x9000 | 0x63C0 | 0x6983) =>
            {
                tried.clear();
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn wrong_values_are_sent_once_and_correct_values_always_pass() {
    holds(CASES, events(), |events| play(&events, None));
}

#[test]
fn every_planted_fault_is_found() {
    let (refused, twice) = ("a correct value was refused", "a wrong value was sent twice");
    for (fault, rule) in [
        (Fault::Off, twice),
        (Fault::ResetForgets, twice),
        (Fault::DataIsNotSeen, twice),
        (Fault::UnreadableIsNotSeen, twice),
        (Fault::ChangeIsNotSeen, refused),
        (Fault::SetIsNotSeen, refused),
        (Fault::WithoutApplication, refused),
        (Fault::AnotherCardIsNotSeen, refused),
    ] {
        is_broken(CASES, events(), |events| play(&events, Some(fault)), fault, rule);
    }
}

#[test]
fn arbitrary_bytes_neither_panic_nor_exceed_the_limit() {
    holds(CASES, vec((vec(any::<u8>(), 0..12), vec(any::<u8>(), 0..4)), 0..20), |conversation| {
        let mut reader = Reader::new(true, true);
        for (command, answer) in conversation {
            let command = ParsedCommand::parse(command);
            // A refused command is not sent.
            let Ok(passed) = reader.guard.admit(&command, Allowed::default(), &reader.view) else { continue };
            reader.guard.sends(passed);
            reader.view.sends(&command);
            reader.view.answered(&answer);
            reader.guard.answered(&answer);
        }
        prop_assert!(reader.guard.memory.rejected.len() <= MAX_REMEMBERED);
        Ok(())
    });
}
