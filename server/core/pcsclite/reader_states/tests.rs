//! The array of one process, in single cases and in random histories.

use proptest::{collection::vec, prelude::*};

use super::{
    element::{bits, events, shown_name},
    *,
};
use crate::{
    properties::holds,
    slot::Protocol,
    status::{ReaderStatus, State},
};

fn status(state: State, insertion_count: u64) -> ReaderStatus {
    let has_card = state == State::Ready;
    ReaderStatus {
        state,
        atr: if has_card { vec![0x3B, 0x80, 0x01, 0x81] } else { Vec::new() },
        protocol: has_card.then_some(Protocol::T1),
        insertion_id: if state == State::Empty { String::new() } else { format!("i{insertion_count}") },
        insertion_count,
    }
}

fn word(element: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(element[offset..offset + 4].try_into().unwrap())
}

fn id(name: &str) -> Arc<str> {
    format!("readers/{name}").into()
}

#[test]
fn an_element_has_the_layout_of_pcsc_lite() {
    let (mut states, id, status) = (ReaderStates::default(), id("a"), status(State::Ready, 1));
    assert!(
        states.update([SeenReader { id: &id, name: "Reader A 00 00", status: &status, sharing: 2, protocol: 0 }], 0)
    );
    let array = states.array(OLD_ELEMENTS);
    assert_eq!((array.len(), &array[..16]), (16 * 184, &b"Reader A 00 00\0\0"[..]));
    assert_eq!([128, 132, 136, 176, 180].map(|offset| word(&array, offset)), [1, 0x34, 2, 4, 2]);
    assert_eq!(&array[140..146], [0x3B, 0x80, 0x01, 0x81, 0, 0]);
    assert!(array[ELEMENT_BYTES..].iter().all(|byte| *byte == 0), "free places are zero");
    assert_eq!(states.array(ELEMENTS).len(), 64 * 184);
    assert_eq!(states.id("Reader A 00 00"), Some(&id));
}

#[test]
fn the_event_counter_grows_with_each_insertion_and_removal() {
    let counts = [
        (State::Empty, 0),
        (State::Settling, 1),
        (State::Ready, 1),
        (State::Empty, 1),
        (State::Settling, 2),
        (State::HeldElsewhere, 2),
        (State::Ready, 2),
        (State::Ready, 3),
    ];
    let counts = counts.map(|(state, count)| events(&status(state, count), 0));
    assert_eq!(counts, [0, 0, 1, 2, 2, 2, 3, 5], "a new insertion without a removal counts twice");
    assert_eq!(events(&status(State::Ready, 1), 1), 3);
    assert_eq!(events(&status(State::Ready, 40_000), 0), 14_463, "it wraps");
}

#[test]
fn a_card_stays_shown_while_it_is_taken_again() {
    let (mut states, id) = (ReaderStates::default(), id("a"));
    let mut show = |state, count| {
        let status = status(state, count);
        states.update([SeenReader { id: &id, name: "a", status: &status, sharing: 1, protocol: 0 }], 0);
        let array = states.array(OLD_ELEMENTS);
        [128, 132, 176].map(|offset| word(&array, offset))
    };
    assert_eq!(show(State::Settling, 1), [0, 2, 0]);
    let shown = show(State::Ready, 1);
    assert_eq!(shown, [1, 0x34, 4]);
    for state in [State::Settling, State::Ready, State::HeldElsewhere, State::Ready] {
        assert_eq!(show(state, 1), shown, "{state:?}");
    }
    assert_eq!(show(State::Mute, 1), [1, 0x0C, 0]);
    assert_eq!(show(State::Settling, 1), [1, 0x0C, 0]);
    assert_eq!(show(State::Settling, 2), [2, 2, 0], "another insertion");
    assert_eq!(show(State::Empty, 2), [4, 2, 0]);
}

#[test]
fn each_state_has_its_bits() {
    let states = [State::Ready, State::Empty, State::Settling, State::Mute, State::Unavailable];
    assert_eq!(states.map(|state| bits(&status(state, 1))), [0x34, 2, 2, 0x0C, 1]);
    let held = status(State::HeldElsewhere, 1);
    let place =
        Place::new(&SeenReader { id: &id("a"), name: "a", status: &held, sharing: 0, protocol: 0 }, held.clone(), 0);
    assert_eq!(word(&place.element, 136), u32::MAX);
}

#[test]
fn a_released_card_has_the_protocol_of_the_processs_handles() {
    let id = id("a");
    let protocol = |status: &ReaderStatus| {
        let seen = SeenReader { id: &id, name: "a", status, sharing: 1, protocol: 2 };
        word(&Place::new(&seen, status.clone(), 0).element, 180)
    };
    let ready = status(State::Ready, 1);
    assert_eq!(protocol(&ReaderStatus { protocol: None, ..ready.clone() }), 2);
    assert_eq!(protocol(&ReaderStatus { protocol: Some(Protocol::T0), ..ready }), 1);
    assert_eq!(protocol(&status(State::Empty, 1)), 0);
}

#[test]
fn the_counter_of_readers_starts_at_one_and_is_never_zero() {
    let (id, card) = (id("a"), status(State::Ready, 1));
    let seen = || SeenReader { id: &id, name: "a", status: &card, sharing: 0, protocol: 0 };
    let mut states = ReaderStates::default();
    assert_eq!(states.events(), 1);
    states.update([], 0);
    assert_eq!(states.events(), 1, "no reader");
    states.update([seen()], 1);
    states.update([], 2);
    assert_eq!(states.events(), 3);
    states.update([], 9);
    assert_eq!(states.events(), 3, "readers that it may not see");
    states.update([seen()], 9);
    assert_eq!(states.events(), 10);
    for (moves, counter) in [(0xFFFE, 0xFFFF), (0xFFFF, 1), (0x1_0000, 2)] {
        let mut later = ReaderStates::default();
        later.update([seen()], moves);
        assert_eq!(later.events(), counter, "the first update is no event");
    }
}

#[test]
fn a_long_name_is_cut_between_characters() {
    assert_eq!(shown_name(&"é".repeat(100)).len(), 126);
    assert_eq!(shown_name(&"a".repeat(127)).len(), 127);
    assert_eq!(shown_name("a\0b"), "a");
}

#[test]
fn a_reader_keeps_its_place_and_a_new_one_takes_the_first_free_place() {
    holds(500, vec(vec(any::<bool>(), 70), 1..12), |history| {
        let ids: Vec<_> = (0..70).map(|number| id(&number.to_string())).collect();
        let (mut states, card) = (ReaderStates::default(), status(State::Ready, 1));
        let mut before: Vec<Option<usize>> = Vec::new();
        for present in history {
            let names: Vec<_> = (0..70).map(|number| number.to_string()).collect();
            let seen = (0..70).filter(|number| present[*number]).map(|number| SeenReader {
                id: &ids[number],
                name: &names[number],
                status: &card,
                sharing: 0,
                protocol: 0,
            });
            let (revision, has_changed) = (states.revision(), states.update(seen, 0));
            prop_assert_eq!(states.revision() != revision, has_changed);
            let array = states.array(ELEMENTS);
            let place = |element: &[u8]| {
                let name = element.split(|byte| *byte == 0).next().unwrap_or_default();
                std::str::from_utf8(name).unwrap().parse().ok()
            };
            let now: Vec<Option<usize>> = array.chunks(ELEMENT_BYTES).map(place).collect();
            prop_assert_eq!(now != before, has_changed || before.is_empty());
            for (place, shown) in before.iter().enumerate() {
                if let Some(number) = shown.filter(|number| present[*number]) {
                    prop_assert_eq!(now[place], Some(number), "it keeps its place");
                }
            }
            let shown = now.iter().flatten().count();
            prop_assert_eq!(shown, present.iter().filter(|present| **present).count().min(ELEMENTS));
            before = now;
        }
        Ok(())
    });
}
