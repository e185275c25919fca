//! The readers as one process sees them: an array of elements with a fixed layout, from which the client library
//! computes lists, states and events.
//!
//! The place in the array is a reader's identity while it is plugged in. A gone reader leaves its place empty, and the
//! next new one takes the first empty place. The number of elements never changes, because a client never accepts
//! fewer than before. A card that was shown stays shown until its insertion ends: the broker may take it again, or find
//! that another program holds it, but to a program that would be a removal.

mod element;

use std::{collections::BTreeMap, sync::Arc};

use self::element::Place;
pub use self::element::protocol_bit;
use crate::status::ReaderStatus;

/// The number of elements for versions 4:4 and 4:5. Clients of those versions see no other readers.
pub const OLD_ELEMENTS: usize = 16;
/// The number of elements for version 4:6. Clients see no other readers.
pub const ELEMENTS: usize = 64;
/// The bytes of one element.
pub const ELEMENT_BYTES: usize = 184;

/// The sharing field of a reader that is held exclusively.
pub const EXCLUSIVE: i32 = -1;

/// A reader that the process may see.
#[derive(Debug, Clone, Copy)]
pub struct SeenReader<'a> {
    /// The broker's name of the reader.
    pub id: &'a Arc<str>,
    /// The name of the reader in PC/SC.
    pub name: &'a str,
    /// The status that its actor has published.
    pub status: &'a ReaderStatus,
    /// The number of the process's open handles, or [`EXCLUSIVE`]. Handles of other processes are not counted: programs
    /// take their traces for a removal of the card.
    pub sharing: i32,
    /// The bit of the protocol that the process's handles have agreed on with the card, or 0. It is shown while the
    /// broker has released the card, and has no protocol with it.
    pub protocol: u32,
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

impl ReaderStates {
    /// Shows these readers from now on. `moves` is the number of all the broker's readers that came or went so far.
    /// Returns whether an element has changed.
    pub fn update<'a>(&mut self, readers: impl IntoIterator<Item = SeenReader<'a>>, moves: u64) -> bool {
        let mut new: BTreeMap<&Arc<str>, SeenReader<'a>> = readers.into_iter().map(|seen| (seen.id, seen)).collect();
        let (mut has_changed, mut has_moved) = (false, false);
        for place in &mut self.places {
            let Some(shown) = place else { continue };
            let Some(seen) = new.remove(&shown.id) else {
                *place = None;
                has_moved = true;
                continue;
            };
            let reinsertions = self.reinsertions.get(&shown.id).copied().unwrap_or_default();
            let now = Place::new(&seen, shown.still_shown(seen.status), reinsertions);
            has_changed |= shown.element != now.element;
            *shown = now;
        }
        for (id, seen) in new {
            let reinsertions = self.reinsertions.get(id).copied().unwrap_or_default();
            let now = Place::new(&seen, seen.status.clone(), reinsertions);
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

#[cfg(test)]
mod tests;
