//! Random histories: the selection never names an application that an arbitrary card has not selected; and the test
//! finds each planted fault.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use crate::{
    apdu::{Class, CommandApdu, ParsedCommand},
    card::view::CardView,
    properties::{holds, is_broken},
};

const CASES: u32 = 3000;
const NAMES: [&[u8]; 4] = [&[0xA0, 0x01], &[0xA0, 0x01, 0x02], &[0xA0, 0x01, 0x03], &[0xB0, 0x05]];

/// An event at the card.
#[derive(Debug, Clone)]
enum Event {
    Command { apdu: Vec<u8>, whim: Whim },
    Reset,
}

/// The behavior of the card where the standard leaves a choice or the card breaks it.
#[derive(Debug, Clone)]
struct Whim {
    refuses: Option<u16>,
    /// The application that is selected after a refusal, a proprietary command or a mistake.
    moves_to: Option<usize>,
    picks: usize,
    sends_fci: bool,
    /// Whether it selects another application than the requested one and names it in the FCI.
    is_mistaken: bool,
    is_silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Every error of class 6A counts as `6A82`.
    AnyAnswerIsRefusal,
    ResetIsNotSeen,
    ChannelIsNotSeen,
    ChainIsNotSeen,
    FciIsNotSeen,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let refuses = prop::option::weighted(
        0.3,
        prop_oneof![2 => Just(0x6A82), 1 => Just(0x6A86), 1 => Just(0x6F00), 1 => Just(0x6300)],
    );
    let whim = (
        refuses,
        prop::option::of(0..NAMES.len()),
        0..4_usize,
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(refuses, moves_to, picks, sends_fci, is_mistaken, is_silent)| Whim {
            refuses,
            moves_to,
            picks,
            sends_fci,
            is_mistaken,
            is_silent,
        });
    let command = (apdus(), whim).prop_map(|(apdu, whim)| Event::Command { apdu, whim });
    vec(prop_oneof![14 => command, 1 => Just(Event::Reset)], 0..20)
}

fn apdus() -> impl Strategy<Value = Vec<u8>> {
    let class = prop_oneof![
        8 => Just(0x00),
        2 => Just(0x01),
        1 => Just(0x45),
        1 => Just(0x0C),
        1 => Just(0x10),
        1 => Just(0x80),
        1 => Just(0xFF),
    ];
    let name =
        (0..NAMES.len(), 0..4_usize).prop_map(|(name, length)| NAMES[name][..length.min(NAMES[name].len())].to_vec());
    let identifier = prop_oneof![Just(vec![0x3F, 0x00]), Just(vec![0x50, 0x15])];
    let by_name = (name, 0..4_u8).prop_map(|(name, p2)| (0xA4, 0x04, p2, name));
    let by_file = (prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(8), Just(9), any::<u8>()], identifier)
        .prop_map(|(p1, data)| (0xA4, p1, 0, data));
    let channel = prop_oneof![Just(0x00), Just(0x80), Just(0x40)].prop_map(|p1| (0x70, p1, 1, vec![]));
    let other = prop_oneof![Just(0xC0), Just(0xCA), Just(0xB0), Just(0x20)].prop_map(|ins| (ins, 0, 0, vec![]));
    let rest = prop_oneof![5 => by_name, 3 => by_file, 1 => channel, 3 => other];
    (class, rest).prop_map(|(class, (instruction, p1, p2, data))| {
        let lc = if data.is_empty() { vec![] } else { vec![data.len() as u8] };
        [vec![class, instruction, p1, p2], lc, data].concat()
    })
}

/// A card that follows the standard where it applies. `selected` has the application of each channel, if it was
/// selected by name.
#[derive(Default)]
struct Card {
    selected: [Option<usize>; 20],
    chain: Option<([u8; 2], Vec<u8>)>,
    offered: Option<Vec<u8>>,
}

impl Card {
    fn transmit(&mut self, bytes: &[u8], whim: &Whim) -> Vec<u8> {
        let apdu = CommandApdu::parse(bytes).unwrap();
        let [class, instruction, p1, _] = apdu.header();
        let channel = Class(class).logical_channel().map_or(0, usize::from);
        let offered = self.offered.take();
        let is_own_business = Class(class).logical_channel().is_none() && [class, instruction] != [0xFF, 0xCA];
        if is_own_business || class & 0x0C != 0 && class < 0x20 {
            if is_own_business || instruction == 0xA4 && p1 != 0x02 {
                let stays = matches!(p1, 0x01 | 0x09) && !is_own_business;
                if instruction == 0xA4 && !stays || class == 0xFF {
                    self.selected[channel] = whim.moves_to;
                }
            }
            return vec![0x90, 0x00];
        }
        let head = [class & !0x10, instruction];
        let begun = self.chain.take().filter(|(begun, _)| *begun == head).map(|(_, data)| data).unwrap_or_default();
        let data = [begun, apdu.data().to_vec()].concat();
        if class == 0x10 {
            self.chain = Some((head, data));
            return vec![0x90, 0x00];
        }
        match instruction {
            0xA4 => self.select(channel, p1, &data, whim),
            0xC0 => [offered.unwrap_or_default(), vec![0x90, 0x00]].concat(),
            0x70 => {
                if p1 == 0x40 {
                    self.selected = [whim.moves_to; 20];
                } else {
                    self.selected[1..].fill(whim.moves_to);
                }
                vec![0x90, 0x00]
            }
            _ => vec![0x90, 0x00],
        }
    }

    fn select(&mut self, channel: usize, p1: u8, data: &[u8], whim: &Whim) -> Vec<u8> {
        let fitting: Vec<_> = (0..NAMES.len()).filter(|name| NAMES[*name].starts_with(data)).collect();
        let word = whim.refuses.or((p1 == 0x04 && fitting.is_empty()).then_some(0x6A82));
        if let Some(word) = word {
            if word != 0x6A82 {
                self.selected[channel] = whim.moves_to;
            }
            return word.to_be_bytes().to_vec();
        }
        match p1 {
            0x01 | 0x02 | 0x09 => {}
            0x04 => {
                let asked = fitting[whim.picks % fitting.len()];
                let mistake = whim.moves_to.filter(|_| whim.is_mistaken && whim.sends_fci);
                let selected = mistake.unwrap_or(asked);
                self.selected[channel] = Some(selected);
                let name = NAMES[selected];
                let fci = [&[0x6F, name.len() as u8 + 2, 0x84, name.len() as u8], name].concat();
                if whim.sends_fci {
                    return [fci, vec![0x90, 0x00]].concat();
                }
                let more = fci.len() as u8;
                self.offered = Some(fci);
                return vec![0x61, more];
            }
            _ => self.selected[channel] = None,
        }
        vec![0x90, 0x00]
    }
}

fn play(events: &[Event], fault: Option<Fault>) -> TestCaseResult {
    let (mut card, mut view) = (Card::default(), CardView::default());
    for event in events {
        match event {
            Event::Reset => {
                card = Card::default();
                if fault != Some(Fault::ResetIsNotSeen) {
                    view.reset();
                }
            }
            Event::Command { apdu, whim } => {
                let mut seen = apdu.clone();
                match fault {
                    Some(Fault::ChannelIsNotSeen) if seen[0] == 0x01 => seen[0] = 0x00,
                    Some(Fault::ChainIsNotSeen) if seen[0] == 0x10 => seen[0] = 0x00,
                    _ => {}
                }
                view.sends(&ParsedCommand::parse(&seen[..]));
                let mut answer = card.transmit(apdu, whim);
                if fault == Some(Fault::AnyAnswerIsRefusal) && answer[0] == 0x6A {
                    answer = vec![0x6A, 0x82];
                }
                if fault == Some(Fault::FciIsNotSeen) && answer[0] == 0x6F {
                    answer = vec![0x90, 0x00];
                }
                if !whim.is_silent {
                    view.answered(&answer);
                }
            }
        }
        for class in [0x00, 0x01, 0x02, 0x45, 0x80, 0x81] {
            let Some(said) = view.application(Class(class)) else { continue };
            // Proprietary classes have the channel in the bits of GlobalPlatform.
            let channel = Class(class).logical_channel().map_or(usize::from(class & 0x03), usize::from);
            let real = card.selected[channel].map(|name| NAMES[name]);
            prop_assert!(
                real.is_some_and(|real| real.starts_with(said)),
                "{said:02X?} is not selected, {real:02X?} is"
            );
        }
    }
    Ok(())
}

#[test]
fn the_selection_names_only_applications_that_the_card_has_selected() {
    holds(CASES, events(), |events| play(&events, None));
}

#[test]
fn every_planted_fault_is_found() {
    for fault in [
        Fault::AnyAnswerIsRefusal,
        Fault::ResetIsNotSeen,
        Fault::ChannelIsNotSeen,
        Fault::ChainIsNotSeen,
        Fault::FciIsNotSeen,
    ] {
        is_broken(CASES, events(), |events| play(&events, Some(fault)), fault, "is not selected");
    }
}

#[test]
fn arbitrary_bytes_do_not_panic_and_a_reset_forgets_them() {
    holds(CASES, vec((vec(any::<u8>(), 0..12), vec(any::<u8>(), 0..12)), 0..8), |conversation| {
        let mut view = CardView::default();
        for (command, answer) in conversation {
            view.sends(&ParsedCommand::parse(&command[..]));
            view.answered(&answer);
        }
        view.reset();
        prop_assert!((0..=u8::MAX).all(|class| view.application(Class(class)).is_none()));
        prop_assert!(!view.is_raised());
        let new = CardView::default();
        prop_assert_eq!(view.place(Class(0)), new.place(Class(0)));
        Ok(())
    });
}
