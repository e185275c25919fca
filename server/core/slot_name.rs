//! The name of a slot in the card stack: its bytes, and text for people.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// The name that the card stack gives a slot. It is a key as bytes, of any encoding; people see [`SlotName::shown`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName {
    bytes: Arc<[u8]>,
    shown: Arc<str>,
}

impl SlotName {
    /// Creates the name of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), shown: shown(bytes).into() }
    }

    /// The bytes as the card stack has them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name as text: UTF-8 as it is, any other byte as `\x` and two upper-case hexadecimal digits. Two names never
    /// look the same, because a backslash that would begin such a group is shown as `\x5C`.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for SlotName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), formatter)
    }
}

impl From<&str> for SlotName {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<String> for SlotName {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

fn shown(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((before, after)) = rest.split_once('\\') {
            shown += before;
            shown += if begins_group(after.as_bytes()) { r"\x5C" } else { r"\" };
            rest = after;
        }
        shown += rest;
        for byte in chunk.invalid() {
            // Writing into a string does not fail.
            let _ = write!(shown, r"\x{byte:02X}");
        }
    }
    shown
}

/// Whether a backslash before these bytes would look like an escaped byte.
fn begins_group(after: &[u8]) -> bool {
    matches!(after, [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The name whose text this is.
    fn read(shown: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), shown.as_bytes());
        while let [first, after @ ..] = rest {
            if *first == b'\\' && begins_group(after) {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&after[1..3]).unwrap(), 16).unwrap());
                rest = &after[3..];
            } else {
                bytes.push(*first);
                rest = after;
            }
        }
        bytes
    }

    #[test]
    fn utf8_is_shown_as_it_is_and_other_bytes_escaped() {
        for (bytes, text) in [
            (&b"Intel\xAE Card Reader"[..], r"Intel\xAE Card Reader"),
            ("Gemalto\u{ae} \u{fc}".as_bytes(), "Gemalto\u{ae} \u{fc}"),
            (br"Intel\xAE Card Reader", r"Intel\x5CxAE Card Reader"),
            (br"\\?PnP?\Notification", r"\\?PnP?\Notification"),
            (b"\xF0\x9F\x98", r"\xF0\x9F\x98"),
        ] {
            assert_eq!(SlotName::new(bytes).shown(), text);
        }
    }

    proptest! {
        #[test]
        fn two_names_never_look_the_same(
            bytes in vec(prop_oneof![Just(b'\\'), Just(b'x'), Just(b'A'), Just(0xAE), Just(0xC3), any::<u8>()], 0..24)
        ) {
            prop_assert_eq!(read(SlotName::new(&bytes).shown()), bytes);
        }
    }
}
