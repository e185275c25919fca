//! Security identifiers (SIDs) of Windows, which name users and groups.

use std::{fmt, str::FromStr};

/// The maximum number of sub-authorities, by the definition of a SID.
const MAX_PARTS: usize = 15;

/// The largest authority: it has 48 bits.
const MAX_AUTHORITY: u64 = (1 << 48) - 1;

/// A security identifier of revision 1. Equal ones have the same text, `S-1-5-21-1004336348-1177238915-682003330-512`.
///
/// It is copied like a number: a SID as long as that of a domain's user fits into a few machine words, and tables of
/// turns are keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid {
    /// The identifier authority, its most significant byte first.
    authority: [u8; 6],
    count: u8,
    /// The sub-authorities; 0 behind the last one.
    parts: [u32; MAX_PARTS],
}

impl Sid {
    /// `S-1-0-0`, which stands for nobody: no process runs as this user.
    pub const NOBODY: Self = Self::well_known(0, [0]);
    /// `S-1-5-18`, the operating system itself.
    pub const SYSTEM: Self = Self::well_known(5, [18]);
    /// `S-1-5-19`, the user of services with few rights.
    pub const LOCAL_SERVICE: Self = Self::well_known(5, [19]);
    /// `S-1-5-20`, the same with the machine's rights in the network.
    pub const NETWORK_SERVICE: Self = Self::well_known(5, [20]);
    /// `S-1-5-32-544`, the group of the machine's administrators.
    pub const ADMINISTRATORS: Self = Self::well_known(5, [32, 544]);

    /// The SID of an authority below 256 with these sub-authorities: 1 to 15.
    const fn well_known<const COUNT: usize>(authority: u8, given: [u32; COUNT]) -> Self {
        const { assert!(0 < COUNT && COUNT <= MAX_PARTS) };
        let (mut parts, mut index) = ([0; MAX_PARTS], 0);
        while index < COUNT {
            parts[index] = given[index];
            index += 1;
        }
        Self { authority: [0, 0, 0, 0, 0, authority], count: COUNT as u8, parts }
    }

    fn parts(&self) -> &[u32] {
        self.parts.get(..self.count.into()).unwrap_or_default()
    }
}

/// A text that is not a SID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SID: use S-1-, an authority and 1 to 15 numbers, such as S-1-5-32-544")]
pub struct NotASid(String);

impl FromStr for Sid {
    type Err = NotASid;

    /// Parses `S-1-AUTHORITY-NUMBER…`. The authority may be hexadecimal (`0x…`), as Windows writes large ones. Numbers
    /// have no leading zeros.
    fn from_str(text: &str) -> Result<Self, NotASid> {
        parse(text).ok_or_else(|| NotASid(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Sid> {
    let rest = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-"))?;
    let mut fields = rest.split('-');
    let authority = authority(fields.next()?)?;
    let (mut parts, mut count) = ([0; MAX_PARTS], 0);
    for field in fields {
        *parts.get_mut(usize::from(count))? = u32::try_from(decimal(field)?).ok()?;
        count += 1;
    }
    let [_, _, authority @ ..] = authority.to_be_bytes();
    (count > 0).then_some(Sid { authority, count, parts })
}

fn authority(text: &str) -> Option<u64> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()?
        }
        Some(_) => return None,
        None => decimal(text)?,
    };
    (number <= MAX_AUTHORITY).then_some(number)
}

/// A number without sign and leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

impl fmt::Display for Sid {
    /// Writes the text that Windows itself writes: the authority is decimal below 2³², else hexadecimal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.authority;
        match u64::from_be_bytes([0, 0, a, b, c, d, e, f]) {
            authority if authority > u32::MAX.into() => write!(formatter, "S-1-0x{authority:012x}")?,
            authority => write!(formatter, "S-1-{authority}")?,
        }
        self.parts().iter().try_for_each(|part| write!(formatter, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::properties::holds;

    fn read(text: &str) -> Option<String> {
        text.parse::<Sid>().ok().map(|sid| sid.to_string())
    }

    #[test]
    fn a_sid_has_one_text() {
        for (text, expected) in [
            ("S-1-5-18", "S-1-5-18"),
            ("s-1-5-18", "S-1-5-18"),
            ("S-1-0x5-18", "S-1-5-18"),
            ("S-1-0X000000000005-18", "S-1-5-18"),
            ("S-1-5-21-1004336348-1177238915-682003330-512", "S-1-5-21-1004336348-1177238915-682003330-512"),
            ("S-1-4294967296-1", "S-1-0x000100000000-1"),
            ("S-1-0xFFFFFFFFFFFF-4294967295", "S-1-0xffffffffffff-4294967295"),
            ("S-1-0-0", "S-1-0-0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        let longest = format!("S-1-5{}", "-7".repeat(15));
        assert_eq!(read(&longest), Some(longest.clone()));
        assert_eq!(Sid::ADMINISTRATORS.to_string(), "S-1-5-32-544");
        assert_eq!([Sid::NOBODY, Sid::SYSTEM].map(|sid| sid.to_string()), ["S-1-0-0", "S-1-5-18"]);
    }

    #[test]
    fn texts_that_are_no_sids_are_refused() {
        for text in [
            "",
            "S",
            "S-1",
            "S-1-",
            "S-1-5",
            "S-1-5-",
            "S-2-5-18",
            "S-1-5-18-",
            "S-1--18",
            "S-1-5-+18",
            "S-1-5-018",
            "S-1-05-18",
            "S-1-5-4294967296",
            "S-1-0x1000000000000-1",
            "S-1-0x-1",
            "S-1-0x+5-1",
            "S-1-5-0x12",
            " S-1-5-18",
            "S-1-5-18 ",
            "S-1-5-٣",
            "DOMAIN\\anna",
            "1000",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&format!("S-1-5{}", "-7".repeat(16))), None);
        let told = "alice".parse::<Sid>().unwrap_err().to_string();
        assert!(told.starts_with("`alice` is not a SID: use S-1-"), "{told}");
    }

    #[test]
    fn equal_sids_are_those_with_equal_texts() {
        // Few numbers, at the ends of their ranges, so that many pairs are equal or nearly so.
        let authority = || select(vec![0, 5, 1 << 32, (1 << 32) + 5, MAX_AUTHORITY]);
        let sid = || (authority(), vec(select(vec![0, 1, u32::MAX]), 1..=3));
        let written = |(authority, parts): &(u64, Vec<u32>)| {
            let parts: String = parts.iter().map(|part| format!("-{part}")).collect();
            format!("S-1-{authority}{parts}")
        };
        holds(2_000, (sid(), sid()), |(one, other)| {
            let [first, second]: [Sid; 2] = [&one, &other].map(|sid| written(sid).parse().unwrap());
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.to_string() == second.to_string(), first == second);
            prop_assert_eq!(first.to_string().parse(), Ok(first));
            Ok(())
        });
    }
}
