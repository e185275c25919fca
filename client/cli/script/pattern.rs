//! Status words that are expected, and the comparison with an answer.

use std::str::FromStr;

use cardbroker_client::CommandResult;

use crate::{Failure, failure::Unexpected};

/// Status words that agree with a value in the bits of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) value: u16,
    pub(crate) mask: u16,
}

impl Pattern {
    fn fits(self, status_word: u16) -> bool {
        (self.value ^ status_word) & self.mask == 0
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (value, mask) = text.split_once('/').unwrap_or((text, "FFFF"));
        let word = |digits: &str| match digits.len() {
            4 => u16::from_str_radix(digits, 16).map_err(|_| "not hexadecimal"),
            _ => Err("a status word has four hexadecimal digits"),
        };
        Ok(Self { value: word(value)?, mask: word(mask)? })
    }
}

/// The patterns as they are written: `9000 or 6100/FF00`.
pub(crate) fn told(patterns: &[Pattern]) -> String {
    let one = |pattern: &Pattern| match pattern.mask {
        0xFFFF => format!("{:04X}", pattern.value),
        mask => format!("{:04X}/{mask:04X}", pattern.value),
    };
    patterns.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// Compares answers with the expected status words of their commands; none for any.
///
/// # Errors
/// [`Failure::Unexpected`] for the first answer with another status word.
pub(crate) fn check(results: &[CommandResult], expected: &[Vec<Pattern>]) -> Result<(), Failure> {
    for (index, (result, patterns)) in results.iter().zip(expected).enumerate() {
        let word = result.status_word;
        if !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.fits(word)) {
            return Err(Failure::Unexpected(Unexpected { index, status_word: word, expected: told(patterns) }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_status_word_with_an_optional_mask() {
        assert_eq!("6a82".parse(), Ok(Pattern { value: 0x6A82, mask: 0xFFFF }));
        assert_eq!("6900/FF00".parse(), Ok(Pattern { value: 0x6900, mask: 0xFF00 }));
        assert!("69".parse::<Pattern>().is_err() && "6900/".parse::<Pattern>().is_err());
    }

    #[test]
    fn a_mask_has_the_bits_to_compare() {
        let pattern: Pattern = "6100/FF00".parse().unwrap();
        assert!(pattern.fits(0x6123) && !pattern.fits(0x9000));
        assert_eq!(told(&[pattern, "9000".parse().unwrap()]), "6100/FF00 or 9000");
    }
}
