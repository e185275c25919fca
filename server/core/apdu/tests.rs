//! Properties of the command parser, for valid commands and for arbitrary bytes.

use proptest::{collection::vec, prelude::*};

use super::{ApduError, CommandApdu};
use crate::properties::holds;

const CASES: u32 = 500;

/// The seven command cases of ISO 7816-3 §12.1.
#[derive(Debug, Clone, Copy)]
enum Form {
    Header,
    ShortLe,
    ShortLc,
    ShortBoth,
    ExtendedLe,
    ExtendedLc,
    ExtendedBoth,
}

use Form::*;

/// Builds a command in a form. Returns its bytes, the number of data bytes and Ne.
fn written(form: Form, header: [u8; 4], data: &[u8], ne: usize) -> (Vec<u8>, usize, Option<usize>) {
    let is_extended = matches!(form, ExtendedLe | ExtendedLc | ExtendedBoth);
    let has_le = matches!(form, ShortLe | ShortBoth | ExtendedLe | ExtendedBoth);
    let (most, lengths): (_, fn(usize) -> Vec<u8>) = if is_extended {
        (65_536, |length| (length as u16).to_be_bytes().to_vec())
    } else {
        (256, |length| vec![length as u8])
    };
    let data = if matches!(form, Header | ShortLe | ExtendedLe) { &[] } else { &data[..data.len().min(most - 1)] };
    let ne = has_le.then_some(1 + ne % most);
    let mut bytes = header.to_vec();
    bytes.extend(is_extended.then_some(0));
    if !data.is_empty() {
        bytes.extend(lengths(data.len()));
        bytes.extend(data);
    }
    bytes.extend(ne.map(lengths).unwrap_or_default());
    (bytes, data.len(), ne)
}

#[test]
fn a_command_in_any_form_is_parsed_back() {
    let form = prop_oneof![
        Just(Header),
        Just(ShortLe),
        Just(ShortLc),
        Just(ShortBoth),
        Just(ExtendedLe),
        Just(ExtendedLc),
        Just(ExtendedBoth)
    ];
    let data = (prop_oneof![8 => 1..300_usize, 1 => 65_530..65_600_usize], any::<u8>())
        .prop_map(|(length, first)| (0..length).map(|at| first.wrapping_add(at as u8)).collect::<Vec<_>>());
    let commands = (form, any::<[u8; 4]>(), data, any::<usize>());
    let read_back = |(form, header, data, ne): (Form, [u8; 4], Vec<u8>, usize)| {
        let (bytes, data_bytes, ne) = written(form, header, &data, ne);
        let apdu = CommandApdu::parse(&bytes[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(apdu.bytes(), &bytes[..]);
        prop_assert_eq!((apdu.header(), apdu.class().0), (header, header[0]));
        prop_assert_eq!((apdu.data(), apdu.expected_length()), (&data[..data_bytes], ne));
        prop_assert_eq!(apdu.is_extended(), matches!(form, ExtendedLe | ExtendedLc | ExtendedBoth));
        Ok(())
    };
    holds(CASES, commands, read_back);
}

#[test]
fn arbitrary_bytes_are_refused_or_parsed_completely() {
    let tail = prop_oneof![3 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 0..600), 1 => vec(Just(0), 0..12)];
    holds(CASES, (any::<[u8; 4]>(), tail, 0..5_usize), |(header, tail, cut)| {
        let bytes = [&header[cut.min(4)..], &tail].concat();
        match CommandApdu::parse(&bytes[..]) {
            Ok(apdu) => {
                let lengths = if apdu.is_extended() { 2 } else { 1 };
                let lc = if apdu.data().is_empty() { 0 } else { lengths };
                let le = if apdu.expected_length().is_some() { lengths } else { 0 };
                let accounted = 4 + usize::from(apdu.is_extended()) + lc + apdu.data().len() + le;
                prop_assert_eq!(accounted, bytes.len());
            }
            Err(error) => prop_assert_eq!(bytes.len() < 4, matches!(error, ApduError::TooShort(_))),
        }
        Ok(())
    });
}
