//! Bytes for people: hexadecimal groups, and text.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_bytes_are_text() {
        assert_eq!(text(b"YubiKey").as_deref(), Some("YubiKey"));
        assert_eq!((text(b"ab"), text(b"a\"bc"), text(b"abc\x1b")), (None, None, None));
    }
}
