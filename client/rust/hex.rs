//! APDUs in hexadecimal, as people write them: spaces and colons may stand between the digits.

use zeroize::Zeroizing;

use crate::ApduBytes;

/// A malformed hexadecimal text. Reports the position but not the text, which may be part of a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character that is neither a digit nor a separator, at this position (in characters, counted from 1).
    #[error("not a hexadecimal digit at position {0}")]
    NotADigit(usize),
    /// The last byte has one digit only; this many digits were found.
    #[error("an odd number of hexadecimal digits ({0}): the last byte is incomplete")]
    OddDigits(usize),
}

/// Reads bytes in hexadecimal, upper or lower case; white space and colons are skipped.
///
/// # Errors
/// [`HexError`] with the place of the first mistake.
pub fn parse(text: &str) -> Result<ApduBytes, HexError> {
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let mut digits = 0;
    let mut high = 0;
    for (index, character) in text.chars().enumerate() {
        if character.is_whitespace() || character == ':' {
            continue;
        }
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digit = digit.ok_or(HexError::NotADigit(index + 1))?;
        if digits % 2 == 0 {
            high = digit << 4;
        } else {
            bytes.push(high | digit);
        }
        digits += 1;
    }
    if digits % 2 == 1 {
        return Err(HexError::OddDigits(digits));
    }
    Ok(std::mem::take(&mut *bytes).into())
}

/// Writes bytes in upper-case hexadecimal without separators.
pub fn format(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_colons_and_both_cases_are_read() {
        assert_eq!(parse("00 a4:04 0C").unwrap()[..], [0x00, 0xA4, 0x04, 0x0C]);
        assert!(parse("").unwrap().is_empty());
        assert_eq!(format(&[0x00, 0xA4, 0xFF]), "00A4FF");
    }

    #[test]
    fn a_mistake_is_reported_by_position_only() {
        assert_eq!(parse("00 x4").unwrap_err(), HexError::NotADigit(4));
        assert_eq!(parse("00 A").unwrap_err(), HexError::OddDigits(3));
        assert!(!parse("00 ~4").unwrap_err().to_string().contains('~'));
    }
}
