//! One element of the array: its bytes, and the card that it shows.

use std::sync::Arc;

use super::{ELEMENT_BYTES, EXCLUSIVE, SeenReader};
use crate::{
    slot::Protocol,
    status::{ReaderStatus, State},
};

const NAME_BYTES: usize = 128;
const ATR_BYTES: usize = 33;

/// The state bits of a reader.
const UNKNOWN: u32 = 0x01;
const ABSENT: u32 = 0x02;
const PRESENT: u32 = 0x04;
const SWALLOWED: u32 = 0x08;
const POWERED: u32 = 0x10;
const NEGOTIABLE: u32 = 0x20;

/// The reader in one place of the array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: Arc<str>,
    pub(super) name: String,
    /// The status that the process was shown.
    pub(super) status: ReaderStatus,
    pub(super) element: [u8; ELEMENT_BYTES],
}

impl Place {
    /// The place of a reader, whose process is shown this `status`.
    pub(super) fn new(seen: &SeenReader<'_>, status: ReaderStatus, reinsertions: u32) -> Self {
        let SeenReader { id, sharing, protocol, .. } = *seen;
        let name = shown_name(seen.name).to_owned();
        let atr = status.atr.get(..ATR_BYTES).unwrap_or(&status.atr);
        let sharing = if seen.status.state == State::HeldElsewhere { EXCLUSIVE } else { sharing };
        let protocol = match protocol_bit(status.protocol) {
            0 if shows_card(&status) => protocol,
            bit => bit,
        };
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
        put(180, &protocol.to_ne_bytes());
        Self { id: Arc::clone(id), name, status, element }
    }

    /// The status to show for `now`: the card that was shown stays, as long as it is the same insertion.
    pub(super) fn still_shown(&self, now: &ReaderStatus) -> ReaderStatus {
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
fn shows_card(status: &ReaderStatus) -> bool {
    status.state == State::Mute || !status.atr.is_empty()
}

/// The event counter: one more at each insertion and at each removal that the client was shown.
pub(super) fn events(status: &ReaderStatus, reinsertions: u32) -> u16 {
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

pub(super) fn bits(status: &ReaderStatus) -> u32 {
    match status.state {
        State::Unresponsive | State::Unavailable => UNKNOWN,
        State::Mute => PRESENT | SWALLOWED,
        _ if shows_card(status) => PRESENT | POWERED | NEGOTIABLE,
        _ => ABSENT,
    }
}

/// The part of a name that fits into an element with its terminating zero.
pub(super) fn shown_name(name: &str) -> &str {
    let name = name.split('\0').next().unwrap_or_default();
    let end = (0..=name.len().min(NAME_BYTES - 1)).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}
