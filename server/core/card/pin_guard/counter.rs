//! A retry counter of the card: the place of its PIN, and the reference. Different references may share a counter, a
//! reference may be the same in all files, and an application may have been selected by different names.

use std::collections::VecDeque;

use super::value::Layout;
use crate::{
    apdu::ApduBytes,
    card::selection::{ConfirmedName, PIV, Place},
};

/// The registered name of OpenPGP cards (OpenPGP card 3.4 §4.2.1). Version and serial number follow.
const OPENPGP: &[u8] = &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// The references of PW1 for signing and for everything else.
const PW1: [u8; 2] = [0x81, 0x82];
const PW3: u8 = 0x83;
/// The fewest bytes of PW1, PW3 and the resetting code.
const PW1_BYTES: usize = 6;
const PW3_BYTES: usize = 8;
const CODE_BYTES: usize = 8;

const PIV_PIN: u8 = 0x80;
const PIV_UNBLOCKING_CODE: u8 = 0x81;
/// Bytes of each value of a PIV card, padded.
const PIV_BYTES: usize = 8;

/// The most confirmed names that are stored for one card.
const MAX_NAMES: usize = 16;

/// A retry counter of the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counter {
    place: Place,
    kind: Kind,
    reference: u8,
}

/// Whether a reference means the same secret in all files of an application (ISO 7816-4 §11.5.2: bit 8 is clear). Not
/// 00, which names no secret, and none of the values that the standard reserves. Applications of one card may still
/// have different secrets under it: many are programs of their own, which do not know each other's.
pub(super) fn is_global(reference: u8) -> bool {
    matches!(reference, 0x01..=0x1F)
}

/// The secret that a counter protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The secret with the reference.
    Pin,
    /// The code that unblocks it, of RESET RETRY COUNTER.
    UnblockingCode,
    /// A key that proves the terminal's rights. It has no retry counter that matters here.
    Key,
}

impl Counter {
    /// The counter of a reference. References that share a counter by the application's standard give the same one.
    pub(super) fn new(place: Place, kind: Kind, reference: u8) -> Self {
        let (kind, reference) = match (kind, reference) {
            (kind, reference) if PW1.contains(&reference) && place.application().starts_with(OPENPGP) => (kind, PW1[0]),
            (Kind::UnblockingCode, PIV_PIN) if place.application().starts_with(PIV) => (Kind::Pin, PIV_UNBLOCKING_CODE),
            unchanged => unchanged,
        };
        Self { place, kind, reference }
    }

    /// The application's standard for a value in front of a new one.
    pub(super) fn layout(&self) -> Layout {
        let application = self.place.application();
        if application.starts_with(PIV) {
            return Layout::Fixed(PIV_BYTES);
        }
        match (application.starts_with(OPENPGP), self.kind, self.reference) {
            (true, Kind::Pin, reference) if PW1.contains(&reference) => {
                Layout::AtLeast { old: PW1_BYTES, new: PW1_BYTES }
            }
            (true, Kind::Pin, PW3) => Layout::AtLeast { old: PW3_BYTES, new: PW3_BYTES },
            (true, Kind::UnblockingCode, _) => Layout::AtLeast { old: CODE_BYTES, new: PW1_BYTES },
            _ => Layout::Unknown,
        }
    }

    /// Whether the card compares a value whatever other secret it has accepted, by the application's standard.
    pub(super) fn needs_no_other(&self) -> bool {
        [OPENPGP, PIV].iter().any(|name| self.place.application().starts_with(name))
    }

    /// The counters of an OpenPGP application, in the order of its PW status bytes; `None` for any other application.
    pub(super) fn of_openpgp(place: &Place) -> Option<[Self; 3]> {
        place.application().starts_with(OPENPGP).then(|| {
            [(Kind::Pin, PW1[0]), (Kind::UnblockingCode, PW1[0]), (Kind::Pin, PW3)]
                .map(|(kind, reference)| Self::new(place.clone(), kind, reference))
        })
    }

    /// Returns the same counter with the application's confirmed name.
    pub(super) fn under(self, names: &Names) -> Self {
        Self::new(names.resolve(self.place), self.kind, self.reference)
    }
}

/// The names of applications that the card has confirmed. The same name selects the same application every time.
#[derive(Default)]
pub(super) struct Names(VecDeque<ConfirmedName>);

impl Names {
    /// Stores a confirmed name. Beyond the limit the oldest one goes.
    pub(super) fn add(&mut self, name: ConfirmedName) {
        self.0.retain(|known| known.requested != name.requested);
        if self.0.len() == MAX_NAMES {
            self.0.pop_front();
        }
        self.0.push_back(name);
    }

    /// Returns the place with the application's whole name, if the card has confirmed it.
    pub(super) fn resolve(&self, place: Place) -> Place {
        match place {
            Place::File(file) => Place::File(match file.unconfirmed_name().and_then(|name| self.whole(name)) {
                Some(whole) => file.with_whole_name(whole),
                None => file,
            }),
            unknown @ Place::Unknown { .. } => unknown,
        }
    }

    fn whole(&self, name: &ApduBytes) -> Option<ApduBytes> {
        let is_it = |known: &&ConfirmedName| known.requested == *name || known.whole == *name;
        self.0.iter().rev().find(is_it).map(|known| known.whole.clone())
    }
}
