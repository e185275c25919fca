//! Status words, as far as the broker interprets them (ISO 7816-4 §5.1.3).

use std::fmt;

/// A status word: SW1 in the high byte, SW2 in the low byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Splits a response into its data and its status word; `None` if it is too short to have one.
    pub fn split(response: &[u8]) -> Option<(&[u8], Self)> {
        let (data, word) = response.split_last_chunk()?;
        Some((data, Self(u16::from_be_bytes(*word))))
    }

    /// `61xx`: the number of response bytes left to fetch, 1–256 (`6100` offers 256 or more).
    pub fn more_data(self) -> Option<usize> {
        (self.0 & 0xFF00 == 0x6100).then(|| self.low_length())
    }

    /// `61xx` and, on SIM cards, `9Fxx`: the next command may fetch a response.
    pub fn offers_data(self) -> bool {
        matches!(self.0 >> 8, 0x61 | 0x9F)
    }

    /// `6Cxx`: the card ran nothing and reports the right Le, 1–256.
    pub fn right_length(self) -> Option<usize> {
        (self.0 & 0xFF00 == 0x6C00).then(|| self.low_length())
    }

    /// `64xx`–`6Fxx`: the command was not completed (ISO 7816-4 §5.6).
    pub fn is_error(self) -> bool {
        matches!(self.0 >> 8, 0x64..=0x6F)
    }

    /// `6D00` and `6E00`: the card does not know the instruction, or not in this class.
    pub fn refuses_header(self) -> bool {
        matches!(self.0, 0x6D00 | 0x6E00)
    }

    /// The presented PIN is wrong (`6300`, `63Cx`, on many cards `6982`) or blocked (`6983`, `6984`).
    pub fn refuses_pin(self) -> bool {
        matches!(self.0, 0x6300 | 0x63C0..=0x63CF | 0x6982..=0x6984)
    }

    fn low_length(self) -> usize {
        match self.0 & 0xFF {
            0 => 256,
            length => usize::from(length),
        }
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04X}", self.0)
    }
}

/// Which status words let a unit continue with its next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopRule {
    /// `9000`, `9100` and `91AF` (DESFire), `9Fxx`, `61xx`, and the warnings `62xx` and `63xx` except `6300` and
    /// `63Cx`: after a refused PIN, the commands that rely on it must not run. Other `91xx` are not included, because
    /// DESFire's `91AE` is a refusal.
    #[default]
    Default,
    /// Like the default, and `91xx` and `920x`: the normal endings of SIM and UICC cards (ETSI TS 102 221 §10.2.1).
    Sim,
    /// Every status word lets the unit continue.
    Any,
    /// No status word except `9000` lets the unit continue.
    Only9000,
}

impl StopRule {
    /// Whether a unit continues after this status word.
    pub fn lets_unit_go_on(self, StatusWord(word): StatusWord) -> bool {
        let is_refused_pin = word == 0x6300 || word & 0xFFF0 == 0x63C0;
        let is_usual = match word >> 8 {
            0x90 => word == 0x9000,
            0x91 => matches!(word, 0x9100 | 0x91AF),
            0x9F | 0x61..=0x63 => !is_refused_pin,
            _ => false,
        };
        match self {
            Self::Default => is_usual,
            Self::Sim => is_usual || word >> 8 == 0x91 || word & 0xFFF0 == 0x9200,
            Self::Any => true,
            Self::Only9000 => word == 0x9000,
        }
    }
}

/// A set of status words: those equal to `value` in all bits of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPattern {
    /// The bits of the status words; bits outside `mask` have no effect.
    pub value: u16,
    /// The bits to compare: a set bit counts.
    pub mask: u16,
}

impl StatusPattern {
    /// Whether `word` is in the set.
    pub fn matches(self, word: StatusWord) -> bool {
        (word.0 ^ self.value) & self.mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_let_a_unit_continue_and_refused_pins_do_not() {
        use StopRule::{Any, Default, Only9000, Sim};
        let table: [(&[u16], &[StopRule]); 4] = [
            (&[0x9000], &[Default, Sim, Any, Only9000]),
            (&[0x9100, 0x91AF, 0x9F00, 0x9F10, 0x6113, 0x6200, 0x6282, 0x6381, 0x63FF], &[Default, Sim, Any]),
            (&[0x910B, 0x91AE, 0x9200, 0x920F], &[Sim, Any]),
            (&[0x6300, 0x63C0, 0x63C2, 0x63CF, 0x6400, 0x6982, 0x6C10, 0x6D00, 0x9001, 0x9210, 0x9300, 0x0000], &[Any]),
        ];
        for (words, rules) in table {
            for word in words {
                for rule in [Default, Sim, Any, Only9000] {
                    assert_eq!(rule.lets_unit_go_on(StatusWord(*word)), rules.contains(&rule), "{word:04X} {rule:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_two_bytes_of_a_response_are_its_status_word() {
        assert_eq!(StatusWord::split(&[0x01, 0x61, 0x10]), Some((&[0x01][..], StatusWord(0x6110))));
        assert_eq!(StatusWord::split(&[0x90, 0x00]), Some((&[][..], StatusWord(0x9000))));
        assert_eq!([&[0x90][..], &[]].map(StatusWord::split), [None, None]);
    }

    #[test]
    fn lengths_are_read_from_61xx_and_6cxx_alone() {
        assert_eq!(StatusWord(0x6113).more_data(), Some(19));
        assert_eq!(StatusWord(0x6100).more_data(), Some(256));
        assert_eq!(StatusWord(0x6C10).right_length(), Some(16));
        assert_eq!(StatusWord(0x9000).more_data().or(StatusWord(0x9000).right_length()), None);
    }

    #[test]
    fn a_pattern_compares_the_bits_of_its_mask() {
        let pattern = StatusPattern { value: 0x63C0, mask: 0xFFF0 };
        assert!(pattern.matches(StatusWord(0x63C3)) && !pattern.matches(StatusWord(0x6300)));
    }
}
