//! Any bytes as a command: parsed as exactly one of the seven forms of ISO 7816-3 §12.1, or refused.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use cardbroker_core::apdu::{ApduError, Class, CommandApdu, StatusPattern, StatusWord};
use libfuzzer_sys::fuzz_target;

/// A command's shape: the number of its data bytes, the number of requested bytes, and whether its lengths are
/// extended.
type Shape = (usize, Option<usize>, bool);

/// Every form that fits the bytes, by arithmetic on lengths alone.
fn shapes(bytes: &[u8]) -> Vec<Shape> {
    let at = |index: usize| bytes.get(index).copied().map_or(0, usize::from);
    let pair = |index: usize| 256 * at(index) + at(index + 1);
    let (length, most) = (bytes.len(), |value: usize, zero: usize| if value == 0 { zero } else { value });
    let short = at(4);
    let long = if short == 0 { pair(5) } else { 0 };
    [
        (length == 4).then_some((0, None, false)),
        (length == 5).then(|| (0, Some(most(at(4), 256)), false)),
        (short > 0 && length == 5 + short).then_some((short, None, false)),
        (short > 0 && length == 5 + short + 1).then(|| (short, Some(most(at(length - 1), 256)), false)),
        (short == 0 && length == 7).then(|| (0, Some(most(pair(5), 65_536)), true)),
        (long > 0 && length == 7 + long).then_some((long, None, true)),
        (long > 0 && length == 7 + long + 2).then(|| (long, Some(most(pair(length - 2), 65_536)), true)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The logical channel of an interindustry class (ISO 7816-4 §5.4.1).
fn channel(class: u8) -> Option<u8> {
    match class >> 4 {
        0 | 1 => Some(class % 4),
        4..=7 => Some(4 + class % 16),
        _ => None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = CommandApdu::parse(bytes);
    assert_eq!(CommandApdu::is_apdu(bytes), parsed.is_ok());
    let shapes = shapes(bytes);
    assert!(shapes.len() < 2, "two forms fit");
    match (&parsed, shapes.first()) {
        (Ok(apdu), Some(shape)) => {
            assert_eq!((apdu.data().len(), apdu.expected_length(), apdu.is_extended()), *shape);
            assert_eq!(apdu.bytes(), bytes);
            let start = if apdu.data().is_empty() {
                4
            } else if apdu.is_extended() {
                7
            } else {
                5
            };
            assert_eq!([&apdu.header()[..], apdu.data()], [&bytes[..4], &bytes[start..start + apdu.data().len()]]);
            assert_eq!(apdu.class(), Class(bytes[0]));
        }
        (Err(ApduError::TooShort(length)), None) => assert!(*length == bytes.len() && *length < 4),
        (Err(ApduError::TooLong(length)), None) => assert!(*length == bytes.len() && *length > 9 + 65_535),
        (Err(ApduError::WrongLc { .. } | ApduError::ZeroLc), None) => assert!(bytes.len() > 5),
        other => panic!("{other:?}"),
    }

    let [class, high, low, value_high, value_low, mask_high, mask_low, ..] = *bytes else { return };
    let from_application = Class(class).fetching_from_application();
    let from_transport = Class(class).fetching_from_transport();
    assert_eq!(from_application.fetching_from_application(), from_application);
    assert_eq!(from_transport.fetching_from_transport(), from_transport);
    for fetching in [from_application, from_transport] {
        assert!(Class(class).shares_channel_with(fetching), "another channel");
        assert_eq!(fetching == Class(0xFF), class == 0xFF);
    }
    match (channel(class), class) {
        (Some(channel_of), _) => {
            assert_eq!((from_application, channel(from_application.0)), (from_transport, Some(channel_of)));
            assert!(!from_application.has_secure_messaging() && !from_application.is_chaining());
        }
        (None, 0x80..=0x8F | 0xE0..=0xEF) => {
            assert_eq!(channel(from_transport.0), Some(if class < 0xE0 { class % 4 } else { 4 + class % 16 }));
            assert!(!from_application.may_have_secure_messaging());
        }
        (None, _) => assert_eq!((from_application, from_transport), (Class(class), Class(class))),
    }

    let word = StatusWord(u16::from_be_bytes([high, low]));
    let length = Some(if low == 0 { 256 } else { usize::from(low) });
    assert_eq!(word.more_data(), length.filter(|_| high == 0x61));
    assert_eq!(word.right_length(), length.filter(|_| high == 0x6C));
    assert!(word.offers_data() || word.more_data().is_none());
    let pattern = StatusPattern {
        value: u16::from_be_bytes([value_high, value_low]),
        mask: u16::from_be_bytes([mask_high, mask_low]),
    };
    assert_eq!(pattern.matches(word), word.0 & pattern.mask == pattern.value & pattern.mask);
});
