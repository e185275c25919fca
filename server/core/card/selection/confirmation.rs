//! The name of the selected application in the answer to SELECT (ISO 7816-4 §11.1.1; PIV: NIST SP 800-73-4 part 2
//! §3.1.1).

use super::MAX_NAME_BYTES;
use crate::apdu::{ApduBytes, data_objects};

const FCI_TEMPLATE: u32 = 0x6F;
const DF_NAME: u32 = 0x84;
/// The template in which a PIV card answers.
const APPLICATION_TEMPLATE: u32 = 0x61;
const APPLICATION_IDENTIFIER: u32 = 0x4F;

/// The registered beginning of the name of PIV. The card's answer leaves it out.
pub(in super::super) const PIV: &[u8] = &[0xA0, 0x00, 0x00, 0x03, 0x08];

/// The answer's word on the requested name.
pub(super) enum Confirmation {
    /// The answer has no name in it.
    None,
    /// The whole name, which begins as requested.
    Whole(ApduBytes),
    /// The whole name of a PIV application, which was requested with more bytes.
    Shorter(ApduBytes),
    /// A beginning of the requested name.
    Beginning(ApduBytes),
    /// A name that differs from the requested one.
    Other(ApduBytes),
}

/// Reads the name in `answer` to a SELECT by the name `requested`.
pub(super) fn read(answer: &[u8], requested: &[u8]) -> Confirmation {
    if let Some(name) = value_of(FCI_TEMPLATE, answer).and_then(|fci| value_of(DF_NAME, fci)) {
        return match name {
            name if name.starts_with(requested) && name.len() <= MAX_NAME_BYTES => Confirmation::Whole(name.into()),
            name if requested.starts_with(name) => Confirmation::Beginning(name.into()),
            name => Confirmation::Other(name.into()),
        };
    }
    let template = value_of(APPLICATION_TEMPLATE, answer);
    let Some(identifier) = template.and_then(|template| value_of(APPLICATION_IDENTIFIER, template)) else {
        return Confirmation::None;
    };
    let is_whole = |name: &[u8]| name.starts_with(requested) && name.len() <= MAX_NAME_BYTES;
    if is_whole(identifier) {
        return Confirmation::Whole(identifier.into());
    }
    let name = if identifier.starts_with(PIV) { identifier.into() } else { ApduBytes::concat([PIV, identifier]) };
    match requested.starts_with(PIV) {
        true if is_whole(&name) => Confirmation::Whole(name),
        true if requested.starts_with(&name) && name.len() > PIV.len() => Confirmation::Shorter(name),
        _ => Confirmation::None,
    }
}

fn value_of(wanted: u32, bytes: &[u8]) -> Option<&[u8]> {
    data_objects(bytes).find_map(|(tag, value)| (tag == wanted).then_some(value))
}
