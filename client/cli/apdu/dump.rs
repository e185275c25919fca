//! Bytes for people: hexadecimal groups, text, and a dump of both.

use std::fmt::Write;

/// The bytes in a line of a dump.
const LINE: usize = 16;

/// The bytes as pairs of digits: `00 A4 04 0C`.
pub(crate) fn pairs(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(" ")
}

/// The bytes as text, if they are at least three printable ASCII characters and nothing else; without quotation marks.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'"';
    let is_text = bytes.len() >= 3 && bytes.iter().all(is_printable);
    is_text.then(|| bytes.iter().copied().map(char::from).collect())
}

/// Lines of offset, 16 bytes and their ASCII characters, 76 columns wide, each with a new line.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let digits = if bytes.len() > 0x1_0000 { 6 } else { 4 };
    let mut told = String::new();
    for (index, line) in bytes.chunks(LINE).enumerate() {
        let (left, right) = line.split_at(line.len().min(LINE / 2));
        let bytes = format!("{}  {}", pairs(left), pairs(right));
        let ascii: String = line.iter().map(|byte| visible(*byte)).collect();
        let offset = index * LINE;
        // Writing to a string does not fail.
        let _ = writeln!(told, "  {offset:0digits$X}  {bytes:48}  |{ascii}|");
    }
    told
}

fn visible(byte: u8) -> char {
    if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dump_has_offsets_bytes_and_characters() {
        let expected = [
            "  0000  53 69 6D 75 6C 61 74 65  64 20 72 65 63 6F 72 64  |Simulated record|",
            "  0010  00 FF                                             |..|",
            "",
        ];
        assert_eq!(dump(b"Simulated record\x00\xFF"), expected.join("\n"));
        assert_eq!(dump(b""), "");
    }

    #[test]
    fn only_printable_bytes_are_text() {
        assert_eq!(text(b"YubiKey").as_deref(), Some("YubiKey"));
        assert_eq!((text(b"ab"), text(b"a\"bc"), text(b"abc\x1b")), (None, None, None));
    }

    proptest! {
        #[test]
        fn a_dump_fits_80_columns_and_commands_no_terminal(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let told = dump(&bytes);
            prop_assert!(told.lines().all(|line| line.len() <= 80));
            prop_assert!(told.chars().all(|letter| letter == '\n' || (' '..='~').contains(&letter)));
            prop_assert_eq!(told.lines().count(), bytes.len().div_ceil(LINE));
        }
    }
}
