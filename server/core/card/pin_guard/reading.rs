//! Classifies a command for the PIN guard: harmless, unknown, or with a PIN.

use crate::{
    apdu::{Class, ParsedCommand, presents_pin},
    card::{selection::SelectedFile, view::CardView},
    keyed_hash::{HashKey, KeyedHash},
};

const VERIFY: u8 = 0x20;
const RESET_RETRY_COUNTER: u8 = 0x2C;
/// The bit of an instruction that marks data in BER-TLV data objects.
const IN_DATA_OBJECTS: u8 = 0x01;

/// Instructions that change no PIN, in every class. The odd instruction after each one is harmless too.
pub(super) const HARMLESS: [u8; 20] = [
    0x22, // MANAGE SECURITY ENVIRONMENT
    0x2A, // PERFORM SECURITY OPERATION
    0x46, // GENERATE ASYMMETRIC KEY PAIR
    0x70, // MANAGE CHANNEL
    0x82, // EXTERNAL AUTHENTICATE
    0x84, // GET CHALLENGE
    0x86, // GENERAL AUTHENTICATE
    0x88, // INTERNAL AUTHENTICATE
    0xA0, // SEARCH BINARY
    0xA2, // SEARCH RECORD
    0xA4, // SELECT
    0xA8, // GET PROCESSING OPTIONS (EMV)
    0xAE, // GENERATE APPLICATION CRYPTOGRAM (EMV)
    0xB0, // READ BINARY
    0xB2, // READ RECORD
    0xC0, // GET RESPONSE
    0xCA, // GET DATA
    0xCC, // GET NEXT DATA
    0xD6, // UPDATE BINARY
    0xDC, // UPDATE RECORD
];

/// GET STATUS of GlobalPlatform, STATUS of SIM cards: harmless in a proprietary class. `00F2` is SET PIN RETRIES of
/// Yubico's OpenPGP, which may restore the default PINs.
const GET_STATUS: u8 = 0xF2;

/// A PIN, or the code that unblocks it (PUK), by its reference in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub kind: Kind,
    place: SelectedFile,
    reference: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pin,
    UnblockingCode,
}

/// The effect of a command on the PINs of the card.
pub(super) enum Sent {
    /// It changes no PIN of the card.
    Harmless,
    /// It may change any PIN.
    Unknown {
        /// Whether it sends no data to the card. If the answer has data, the command was a query and changed nothing.
        gives_nothing: bool,
    },
    /// It presents a PIN or an unblocking code.
    Presents {
        /// `None` if the selected file is uncertain.
        secret: Option<Secret>,
        /// `None` if the command has no value, or the guard cannot read it.
        value: Option<KeyedHash>,
        on_success: Success,
    },
}

/// The meaning of success for a command that presents a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// None: the command had no value.
    Nothing,
    /// The value was correct; it stays the same.
    IsRight,
    /// The secret has a new value.
    IsChanged,
}

/// Classifies a command to a card in the state `view`. Values are hashed with `key`.
pub(super) fn read(key: &HashKey, command: &ParsedCommand, view: &CardView) -> Sent {
    let apdu = match command {
        ParsedCommand::Apdu(apdu) => apdu,
        ParsedCommand::Unreadable(bytes) => return read_unreadable(key, bytes, view),
    };
    let [_, instruction, p1, reference] = apdu.header();
    let even = instruction & !IN_DATA_OBJECTS;
    let is_proprietary = apdu.class().logical_channel().is_none();
    match even {
        _ if HARMLESS.contains(&even) => return Sent::Harmless,
        GET_STATUS if is_proprietary => return Sent::Harmless,
        // In a proprietary class the instruction may have another meaning.
        _ if !presents_pin(instruction) || is_proprietary => {
            return Sent::Unknown { gives_nothing: apdu.data().is_empty() && view.is_plain(apdu) };
        }
        // The card acts on the last command of a chain only.
        _ if apdu.class().is_chaining() => return Sent::Harmless,
        _ => {}
    }
    let value = (!apdu.data().is_empty() && view.is_plain(apdu)).then(|| {
        let mut hasher = key.hasher();
        hasher.part(&[instruction, p1]);
        hasher.part(apdu.data());
        hasher.finish()
    });
    let on_success = match even {
        VERIFY if apdu.data().is_empty() => Success::Nothing,
        VERIFY => Success::IsRight,
        _ => Success::IsChanged,
    };
    Sent::Presents { secret: secret(view, apdu.class(), even, reference), value, on_success }
}

/// Classifies bytes that are not an APDU. If the card accepts them, they may have had any effect.
fn read_unreadable(key: &HashKey, command: &[u8], view: &CardView) -> Sent {
    match command.split_first_chunk() {
        Some((&[class, instruction, p1, reference], presented)) if presents_pin(instruction) => {
            // In a chain the value begins in the earlier commands.
            let value = (!view.has_open_chain()).then(|| {
                let mut hasher = key.hasher();
                hasher.part(&[class, instruction, p1]);
                hasher.part(presented);
                hasher.finish()
            });
            let secret = secret(view, Class(class), instruction & !IN_DATA_OBJECTS, reference);
            Sent::Presents { secret, value, on_success: Success::IsChanged }
        }
        _ => Sent::Unknown { gives_nothing: false },
    }
}

fn secret(view: &CardView, class: Class, even: u8, reference: u8) -> Option<Secret> {
    let kind = if even == RESET_RETRY_COUNTER { Kind::UnblockingCode } else { Kind::Pin };
    let place = view.place(class).filter(|place| place.is_certain())?;
    Some(Secret { kind, place: place.clone(), reference })
}
