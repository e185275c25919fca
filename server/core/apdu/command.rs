//! The length structure of a command APDU (ISO 7816-4 §5.1): header, data, expected length. Nothing else is checked, so
//! CLA FF (PC/SC part 3) and any instruction pass.

use super::{ApduBytes, Class};

/// Bytes of the longest command: extended length, with 65,535 data bytes and Le.
pub const MAX_COMMAND_BYTES: usize = 65_544;

/// Bytes of the longest raw command: the largest PC/SC message of pcsc-lite.
pub const MAX_RAW_BYTES: usize = 65_548;

const HEADER_BYTES: usize = 4;

/// A command APDU whose lengths agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandApdu {
    bytes: ApduBytes,
    structure: Structure,
}

/// The parts of a command APDU, without a copy. Has no `Debug`: the data may be a PIN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommandParts<'a> {
    /// CLA, INS, P1 and P2.
    pub header: [u8; HEADER_BYTES],
    /// The data field; empty if there is none.
    pub data: &'a [u8],
    /// Ne, the maximum number of response data bytes (1–65,536); `None` without Le.
    pub expected_length: Option<usize>,
}

impl<'a> CommandParts<'a> {
    /// The parts of `bytes`; `None` if they are no command APDU.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let Structure { data: (begin, end), expected, .. } = structure(bytes).ok()?;
        Some(Self { header: *bytes.first_chunk()?, data: bytes.get(begin..end)?, expected_length: expected })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Structure {
    data: (usize, usize),
    expected: Option<usize>,
    extended: bool,
}

/// Reasons why bytes are no command APDU. The texts give lengths only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApduError {
    /// The length, which is below the four bytes of a header.
    #[error("an APDU has at least 4 bytes (CLA INS P1 P2), this one has {0}")]
    TooShort(usize),
    /// The length, which is above [`MAX_COMMAND_BYTES`].
    #[error("an APDU has at most 65,544 bytes, this one has {0}")]
    TooLong(usize),
    /// Lc disagrees with the number of bytes after it.
    #[error(
        "Lc says {announced} data bytes, but {following} bytes follow it: expected {announced}, or {announced} and Le"
    )]
    WrongLc {
        /// The number of data bytes that Lc announces.
        announced: usize,
        /// The number of bytes after Lc.
        following: usize,
    },
    /// Lc is zero in a command that has data.
    #[error("Lc is 0: leave it out when there is no data")]
    ZeroLc,
    /// The length of a raw command, which is outside 1 to [`MAX_RAW_BYTES`] bytes.
    #[error("a raw command has 1 to 65,548 bytes, this one has {0}")]
    RawLength(usize),
}

/// The bytes of a command, whose structure was looked for once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedCommand {
    /// The lengths agree with the number of bytes.
    Apdu(CommandApdu),
    /// The lengths do not agree: it may be any command.
    Unreadable(ApduBytes),
}

impl ParsedCommand {
    /// Looks for the structure of `bytes`.
    pub fn parse(bytes: impl Into<ApduBytes>) -> Self {
        let bytes = bytes.into();
        match structure(&bytes) {
            Ok(structure) => Self::Apdu(CommandApdu { bytes, structure }),
            Err(_) => Self::Unreadable(bytes),
        }
    }

    /// The command as it was given.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Apdu(apdu) => apdu.bytes(),
            Self::Unreadable(bytes) => bytes,
        }
    }

    /// The APDU, if the bytes are one.
    pub fn apdu(&self) -> Option<&CommandApdu> {
        match self {
            Self::Apdu(apdu) => Some(apdu),
            Self::Unreadable(_) => None,
        }
    }
}

impl CommandApdu {
    /// Parses the structure of `bytes`.
    ///
    /// # Errors
    /// [`ApduError`] if the lengths disagree.
    pub fn parse(bytes: impl Into<ApduBytes>) -> Result<Self, ApduError> {
        let bytes = bytes.into();
        let structure = structure(&bytes)?;
        Ok(Self { bytes, structure })
    }

    /// Whether `bytes` form a command APDU.
    pub fn is_apdu(bytes: &[u8]) -> bool {
        structure(bytes).is_ok()
    }

    /// The unchanged bytes of the command.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The header: CLA, INS, P1 and P2.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.bytes[..HEADER_BYTES]);
        header
    }

    /// The class byte, CLA, of the header.
    pub fn class(&self) -> Class {
        Class(self.bytes[0])
    }

    /// The data field; empty if there is none.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.structure.data.0..self.structure.data.1]
    }

    /// Ne, the maximum number of response data bytes (1–65,536); `None` without Le.
    pub fn expected_length(&self) -> Option<usize> {
        self.structure.expected
    }

    /// Whether the length fields have the extended form.
    pub fn is_extended(&self) -> bool {
        self.structure.extended
    }
}

fn structure(bytes: &[u8]) -> Result<Structure, ApduError> {
    let length = bytes.len();
    let whole = |data, expected, extended| Ok(Structure { data, expected, extended });
    let none = (HEADER_BYTES, HEADER_BYTES);
    match *bytes {
        _ if length < HEADER_BYTES => Err(ApduError::TooShort(length)),
        _ if length > MAX_COMMAND_BYTES => Err(ApduError::TooLong(length)),
        [_, _, _, _] => whole(none, None, false),
        [_, _, _, _, le] => whole(none, Some(short_length(le)), false),
        [_, _, _, _, 0, high, low] => whole(none, Some(extended_length(high, low)), true),
        [_, _, _, _, 0, high, low, ref rest @ ..] => {
            let announced = usize::from(u16::from_be_bytes([high, low]));
            let expected = match *rest.get(announced..).unwrap_or(&[0]) {
                _ if announced == 0 => return Err(ApduError::ZeroLc),
                [] => None,
                [high, low] => Some(extended_length(high, low)),
                _ => return Err(ApduError::WrongLc { announced, following: rest.len() }),
            };
            whole((7, 7 + announced), expected, true)
        }
        [_, _, _, _, 0, ..] => Err(ApduError::ZeroLc),
        [_, _, _, _, lc, ref rest @ ..] => {
            let announced = usize::from(lc);
            let expected = match *rest.get(announced..).unwrap_or(&[0, 0]) {
                [] => None,
                [le] => Some(short_length(le)),
                _ => return Err(ApduError::WrongLc { announced, following: rest.len() }),
            };
            whole((5, 5 + announced), expected, false)
        }
        _ => Err(ApduError::TooShort(length)),
    }
}

fn short_length(le: u8) -> usize {
    if le == 0 { 256 } else { usize::from(le) }
}

fn extended_length(high: u8, low: u8) -> usize {
    match u16::from_be_bytes([high, low]) {
        0 => 65_536,
        length => usize::from(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bytes: &[u8]) -> Result<(usize, Option<usize>, bool), ApduError> {
        CommandApdu::parse(bytes).map(|apdu| (apdu.data().len(), apdu.expected_length(), apdu.is_extended()))
    }

    fn with_data(head: &[u8], data_bytes: usize, tail: &[u8]) -> Vec<u8> {
        [head, &vec![0x55; data_bytes], tail].concat()
    }

    #[test]
    fn the_seven_cases_are_distinguished() {
        assert_eq!(shape(&[0, 0xA4, 0, 0]), Ok((0, None, false)));
        assert_eq!(shape(&[0, 0xC0, 0, 0, 0x13]), Ok((0, Some(19), false)));
        assert_eq!(shape(&[0, 0xC0, 0, 0, 0]), Ok((0, Some(256), false)));
        assert_eq!(shape(&with_data(&[0, 0xA4, 4, 0, 7], 7, &[])), Ok((7, None, false)));
        assert_eq!(shape(&with_data(&[0, 0xA4, 4, 0, 7], 7, &[0])), Ok((7, Some(256), false)));
        assert_eq!(shape(&[0, 0xB0, 0, 0, 0, 2, 1]), Ok((0, Some(513), true)));
        assert_eq!(shape(&[0, 0xB0, 0, 0, 0, 0, 0]), Ok((0, Some(65_536), true)));
        assert_eq!(shape(&with_data(&[0, 0xD6, 0, 0, 0, 1, 0], 256, &[])), Ok((256, None, true)));
        assert_eq!(
            shape(&with_data(&[0, 0xD6, 0, 0, 0, 0xFF, 0xFF], 65_535, &[0, 0])),
            Ok((65_535, Some(65_536), true))
        );
    }

    #[test]
    fn inconsistent_lengths_are_refused() {
        assert_eq!(shape(&[]), Err(ApduError::TooShort(0)));
        assert_eq!(shape(&[0, 0xA4, 4]), Err(ApduError::TooShort(3)));
        assert_eq!(
            shape(&with_data(&[0, 0xA4, 4, 0, 7], 6, &[])),
            Err(ApduError::WrongLc { announced: 7, following: 6 })
        );
        assert_eq!(
            shape(&with_data(&[0, 0xA4, 4, 0, 7], 9, &[])),
            Err(ApduError::WrongLc { announced: 7, following: 9 })
        );
        assert_eq!(
            shape(&with_data(&[0, 0xD6, 0, 0, 0, 0, 9], 10, &[])),
            Err(ApduError::WrongLc { announced: 9, following: 10 })
        );
        assert_eq!(
            shape(&with_data(&[0, 0xD6, 0, 0, 0, 0, 9], 8, &[])),
            Err(ApduError::WrongLc { announced: 9, following: 8 })
        );
        assert_eq!(shape(&[0, 0xA4, 0, 0, 0, 0]), Err(ApduError::ZeroLc));
        assert_eq!(shape(&[0, 0xA4, 0, 0, 0, 0, 0, 0]), Err(ApduError::ZeroLc));
        assert_eq!(shape(&vec![0; MAX_COMMAND_BYTES + 1]), Err(ApduError::TooLong(MAX_COMMAND_BYTES + 1)));
    }

    #[test]
    fn every_class_and_instruction_passes() {
        for byte in 0..=u8::MAX {
            assert!(shape(&[0xFF, byte, 0, 0]).is_ok() && shape(&[byte, 0xCA, 0, 0, 0]).is_ok());
        }
    }
}
