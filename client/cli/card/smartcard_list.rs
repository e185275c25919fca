//! The system's list of known answers to reset: `smartcard_list.txt` of pcsc-tools, if it is installed.
//!
//! An entry is a line with a pattern, pairs of hexadecimal digits in which `.` stands for any digit and `[…]` for one
//! of several, followed by lines that begin with a tab and describe the card.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// Where Debian's package pcsc-tools has the list.
const PATH: &str = "/usr/share/pcsc/smartcard_list.txt";

/// The most bytes of the list that are read; the list of 2026 has about 800 KiB.
const MAX_BYTES: u64 = 16 << 20;

/// The most descriptions of one card.
const MAX_LINES: usize = 16;

/// The longest description, in characters; the rest is cut off.
const MAX_LENGTH: usize = 300;

/// The descriptions of an answer to reset in the system's list. Empty if there is no list or the card is not in it.
pub(super) fn descriptions(atr: &[u8]) -> Vec<String> {
    of_file(Path::new(PATH), atr)
}

fn of_file(path: &Path, atr: &[u8]) -> Vec<String> {
    // The list only adds names: without it, or behind a mistake in it, there are fewer.
    File::open(path).map(|file| find(BufReader::new(file.take(MAX_BYTES)), atr)).unwrap_or_default()
}

fn find(mut list: impl BufRead, atr: &[u8]) -> Vec<String> {
    let digits: String = atr.iter().map(|byte| format!("{byte:02X}")).collect();
    let mut found = Vec::new();
    let mut is_inside = false;
    let mut line = Vec::new();
    while let Ok(1..) = list.by_ref().take(MAX_BYTES).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        match text.strip_prefix('\t') {
            Some(described) => {
                if is_inside && found.len() < MAX_LINES {
                    let described = described.trim_end().chars().take(MAX_LENGTH).collect::<String>();
                    found.push(crate::printable(&described));
                }
            }
            None => is_inside = fits(text.trim(), digits.as_bytes()),
        }
        drop(text);
        line.clear();
    }
    found
}

/// Whether a pattern fits all the digits. A pattern with other signs fits none.
fn fits(pattern: &str, mut digits: &[u8]) -> bool {
    if pattern.is_empty() || pattern.starts_with('#') {
        return false;
    }
    let mut rest = pattern.bytes().filter(|byte| *byte != b' ');
    while let Some(sign) = rest.next() {
        let Some((digit, left)) = digits.split_first() else { return false };
        let is_fitting = match sign {
            b'.' => true,
            b'[' => {
                let set: Vec<u8> = rest.by_ref().take_while(|byte| *byte != b']').collect();
                is_in(&set, *digit)
            }
            sign => sign.eq_ignore_ascii_case(digit),
        };
        if !is_fitting {
            return false;
        }
        digits = left;
    }
    digits.is_empty()
}

/// Whether a digit is in a set such as `0-9AF`.
fn is_in(set: &[u8], digit: u8) -> bool {
    let mut index = 0;
    while let Some(first) = set.get(index) {
        match set.get(index + 1..index + 3) {
            Some([b'-', last]) => {
                if (*first..=*last).contains(&digit) {
                    return true;
                }
                index += 3;
            }
            _ => {
                if *first == digit {
                    return true;
                }
                index += 1;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries that no real list has.
    const LIST: &str = "# a comment\n\n3B 80 .. 01\n\tA made-up card\n\thttps://example.org/\n\n3B 80 [0-9A]0 01\n\
                        \tAnother one\x1b[2J\n\n3B 80 (\n\tNever\n";

    #[test]
    fn a_card_has_the_descriptions_of_all_patterns_that_fit() {
        let all = ["A made-up card", "https://example.org/", "Another one\u{FFFD}[2J"];
        assert_eq!(find(LIST.as_bytes(), &[0x3B, 0x80, 0x80, 0x01]), all);
        assert_eq!(find(LIST.as_bytes(), &[0x3B, 0x80, 0xB0, 0x01]), all[..2]);
        for other in [&[0x3B, 0x80][..], &[0x3B, 0x80, 0x80, 0x01, 0x00], &[]] {
            assert!(find(LIST.as_bytes(), other).is_empty());
        }
        assert!(of_file(Path::new("/nonexistent"), &[0x3B]).is_empty());
    }

    proptest! {
        #[test]
        fn any_list_is_read(list in proptest::collection::vec(any::<u8>(), 0..300), atr in any::<[u8; 3]>()) {
            find(&list[..], &atr);
        }

        #[test]
        fn any_pattern_is_tried(pattern in "[0-9A-F.\\[\\]\\- ]{0,20}", atr in any::<[u8; 3]>()) {
            find(format!("{pattern}\n\tX\n").as_bytes(), &atr);
        }
    }
}
