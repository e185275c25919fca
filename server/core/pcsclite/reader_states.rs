//! The readers as one process sees them: an array of elements with a fixed layout, from which the client library
//! computes lists, states and events.
//!
//! The place in the array is a reader's identity while it is plugged in. A gone reader leaves its place empty, and the
//! next new one takes the first empty place. The number of elements never changes, because a client never accepts
//! fewer than before. A card that was shown stays shown until its insertion ends: the broker may take it again, or find
//! that another program holds it, but to a program that would be a removal.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    slot::Protocol,
    status::{ReaderStatus, State},
};

/// The number of elements for versions 4:4 and 4:5. Clients of those versions see no other readers.
pub const OLD_ELEMENTS: usize = 16;
/// The number of elements for version 4:6. Clients see no other readers.
pub const ELEMENTS: usize = 64;
/// The bytes of one element.
pub const ELEMENT_BYTES: usize = 184;

const NAME_BYTES: usize = 128;
const ATR_BYTES: usize = 33;

/// The state bits of a reader.
const UNKNOWN: u32 = 0x01;
const ABSENT: u32 = 0x02;
const PRESENT: u32 = 0x04;
const SWALLOWED: u32 = 0x08;
const POWERED: u32 = 0x10;
const NEGOTIABLE: u32 = 0x20;

/// The sharing field of a reader that is held exclusively.
pub const EXCLUSIVE: i32 = -1;

/// A reader that the process may see.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The broker's name of the reader.
    pub id: &'a Arc<str>,
    /// The name of the reader in PC/SC.
    pub name: &'a str,
    /// The status that its actor has published.
    pub status: &'a ReaderStatus,
    /// The number of the process's open handles, or [`EXCLUSIVE`]. Handles of other processes are not counted: programs
    /// take their traces for a removal of the card.
    pub sharing: i32,
}

/// The readers that one process sees.
#[derive(Debug, Default)]
pub struct ReaderStates {
    places: Vec<Option<Place>>,
    /// The number of changes of any element so far.
    revision: u64,
    /// The number of readers of the broker that had come or gone when one of these last did; `None` before the first
    /// update.
    moves: Option<u64>,
    /// The number of insertions that the process was told in addition to the real ones.
    reinsertions: BTreeMap<Arc<str>, u32>,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    id: Arc<str>,
    name: String,
    /// The status that the process was shown.
    status: ReaderStatus,
    element: [u8; ELEMENT_BYTES],
}

impl ReaderStates {
    /// Shows these readers from now on. `moves` is the number of all the broker's readers that came or went so far.
    /// Returns whether an element has changed.
    pub fn update<'a>(&mut self, readers: impl IntoIterator<Item = Sight<'a>>, moves: u64) -> bool {
        let mut new: BTreeMap<&Arc<str>, Sight<'a>> = readers.into_iter().map(|sight| (sight.id, sight)).collect();
        let (mut has_changed, mut has_moved) = (false, false);
        for place in &mut self.places {
            let Some(shown) = place else { continue };
            let Some(sight) = new.remove(&shown.id) else {
                *place = None;
                has_moved = true;
                continue;
            };
            let reinsertions = self.reinsertions.get(&shown.id).copied().unwrap_or_default();
            let now = Place::new(&sight, shown.still_shown(sight.status), reinsertions);
            has_changed |= shown.element != now.element;
            *shown = now;
        }
        for (id, sight) in new {
            let reinsertions = self.reinsertions.get(id).copied().unwrap_or_default();
            let now = Place::new(&sight, sight.status.clone(), reinsertions);
            match self.places.iter().position(Option::is_none) {
                Some(free) => self.places[free] = Some(now),
                None if self.places.len() < ELEMENTS => self.places.push(Some(now)),
                None => continue,
            }
            has_moved = true;
        }
        // Rules may show or hide a reader that has not moved.
        self.moves = match self.moves {
            Some(before) if has_moved => Some(moves.max(before + 1)),
            before => before.or(Some(moves)),
        };
        has_changed |= has_moved;
        self.revision += u64::from(has_changed);
        has_changed
    }

    /// Tells the process from the next update on that the card was taken out and inserted again.
    pub fn reinsert(&mut self, id: &Arc<str>) {
        let count = self.reinsertions.entry(Arc::clone(id)).or_default();
        *count = count.wrapping_add(1);
    }

    /// The number of changes of any element so far.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The counter of readers that came or went: it starts at 1, has 16 bits and is never 0. It is the broker's, so
    /// that a program that was away misses nothing.
    pub fn events(&self) -> u16 {
        let counted = self.moves.unwrap_or_default() % u64::from(u16::MAX);
        u16::try_from(counted).unwrap_or_default() + 1
    }

    /// The broker's name of the reader that is shown as `name`.
    pub fn id(&self, name: &str) -> Option<&Arc<str>> {
        self.places.iter().flatten().find(|place| place.name == name).map(|place| &place.id)
    }

    /// The bytes of the first `elements` elements.
    pub fn array(&self, elements: usize) -> Vec<u8> {
        let mut array = vec![0; elements * ELEMENT_BYTES];
        for (element, place) in array.chunks_exact_mut(ELEMENT_BYTES).zip(&self.places) {
            if let Some(place) = place {
                element.copy_from_slice(&place.element);
            }
        }
        array
    }
}

impl Place {
    /// The place of a reader, whose process is shown this `status`.
    fn new(sight: &Sight<'_>, status: ReaderStatus, reinsertions: u32) -> Self {
        let Sight { id, sharing, .. } = *sight;
        let name = shown_name(sight.name).to_owned();
        let atr = status.atr.get(..ATR_BYTES).unwrap_or(&status.atr);
        let sharing = if sight.status.state == State::HeldElsewhere { EXCLUSIVE } else { sharing };
        let mut element = [0; ELEMENT_BYTES];
        let mut put = |offset: usize, bytes: &[u8]| {
            if let Some(field) = element.get_mut(offset..offset + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        put(0, name.as_bytes());
        put(128, &u32::from(events(&status, reinsertions)).to_ne_bytes());
        put(132, &bits(&status).to_ne_bytes());
        put(136, &sharing.to_ne_bytes());
        put(140, atr);
        put(176, &u32::try_from(atr.len()).unwrap_or(0).to_ne_bytes());
        put(180, &protocol_bit(status.protocol).to_ne_bytes());
        Self { id: Arc::clone(id), name, status, element }
    }

    /// The status to show for `now`: the card that was shown stays, as long as it is the same insertion.
    fn still_shown(&self, now: &ReaderStatus) -> ReaderStatus {
        let is_same = !now.insertion_id.is_empty() && now.insertion_id == self.status.insertion_id;
        if !is_same || shows_card(now) || !shows_card(&self.status) {
            return now.clone();
        }
        match now.state {
            State::Settling | State::HeldElsewhere => self.status.clone(),
            _ if self.status.state == State::Mute => self.status.clone(),
            state => ReaderStatus { state, ..self.status.clone() },
        }
    }
}

/// The bit of a protocol, 0 without one.
pub fn protocol_bit(protocol: Option<Protocol>) -> u32 {
    match protocol {
        None => 0,
        Some(Protocol::T0) => 1,
        Some(Protocol::T1) => 2,
        Some(Protocol::Raw) => 4,
    }
}

/// Whether clients are shown a card. A card that is being taken, or is held by others, is not shown yet: clients expect
/// an ATR of each card.
pub fn shows_card(status: &ReaderStatus) -> bool {
    status.state == State::Mute || !status.atr.is_empty()
}

/// The event counter: one more at each insertion and at each removal that the client was shown.
fn events(status: &ReaderStatus, reinsertions: u32) -> u16 {
    let inserted = 2 * status.insertion_count;
    let shown = match (shows_card(status), status.insertion_id.is_empty()) {
        (true, _) => inserted.saturating_sub(1),
        (false, true) => inserted,
        // The card of the latest insertion is still to be shown.
        (false, false) => inserted.saturating_sub(2),
    };
    // The field has 16 bits, and clients expect it to wrap.
    (shown.wrapping_add(2 * u64::from(reinsertions)) & 0xFFFF) as u16
}

fn bits(status: &ReaderStatus) -> u32 {
    match status.state {
        State::Unresponsive | State::Unavailable => UNKNOWN,
        State::Mute => PRESENT | SWALLOWED,
        _ if shows_card(status) => PRESENT | POWERED | NEGOTIABLE,
        _ => ABSENT,
    }
}

/// The part of a name that fits into an element with its terminating zero.
fn shown_name(name: &str) -> &str {
    let name = name.split('\0').next().unwrap_or_default();
    let end = (0..=name.len().min(NAME_BYTES - 1)).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::properties::holds;

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
        assert!(states.update([Sight { id: &id, name: "Reader A 00 00", status: &status, sharing: 2 }], 0));
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
            states.update([Sight { id: &id, name: "a", status: &status, sharing: 1 }], 0);
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
        let place = Place::new(&Sight { id: &id("a"), name: "a", status: &held, sharing: 0 }, held.clone(), 0);
        assert_eq!(word(&place.element, 136), u32::MAX);
    }

    #[test]
    fn the_counter_of_readers_starts_at_one_and_is_never_zero() {
        let (id, card) = (id("a"), status(State::Ready, 1));
        let sight = || Sight { id: &id, name: "a", status: &card, sharing: 0 };
        let mut states = ReaderStates::default();
        assert_eq!(states.events(), 1);
        states.update([], 0);
        assert_eq!(states.events(), 1, "no reader");
        states.update([sight()], 1);
        states.update([], 2);
        assert_eq!(states.events(), 3);
        states.update([], 9);
        assert_eq!(states.events(), 3, "readers that it may not see");
        states.update([sight()], 9);
        assert_eq!(states.events(), 10);
        for (moves, counter) in [(0xFFFE, 0xFFFF), (0xFFFF, 1), (0x1_0000, 2)] {
            let mut later = ReaderStates::default();
            later.update([sight()], moves);
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
                let sights = (0..70).filter(|number| present[*number]).map(|number| Sight {
                    id: &ids[number],
                    name: &names[number],
                    status: &card,
                    sharing: 0,
                });
                let (revision, has_changed) = (states.revision(), states.update(sights, 0));
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
}
