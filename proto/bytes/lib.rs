//! The one type for APDU bytes in the daemon and in the Rust client: wiped when dropped, never printed.

use std::{fmt, ops::Deref};

use zeroize::Zeroizing;

/// The bytes of a command or a response. They may be a PIN or a key, so `Debug` shows neither them nor their number.
///
/// The transport's buffers are not of this type. `cardbrokerd` and `cardbroker` wipe those too, by an allocator that
/// wipes all freed memory; another program that uses the Rust client may do the same.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApduBytes(Zeroizing<Vec<u8>>);

impl ApduBytes {
    /// Joins `parts` in one allocation of the exact size, so that no outgrown buffer keeps a copy.
    pub fn concat<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.into()
    }

    /// Returns the bytes for a message that leaves the process. They are no longer wiped on drop.
    #[must_use = "the bytes are no longer protected"]
    pub fn expose_for_wire(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

impl From<Vec<u8>> for ApduBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<&[u8]> for ApduBytes {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<[u8; N]> for ApduBytes {
    fn from(bytes: [u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for ApduBytes {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl Deref for ApduBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ApduBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_bytes() {
        assert_eq!(format!("{:?}", ApduBytes::from(b"123")), "[redacted]");
    }

    #[test]
    fn parts_are_joined_without_spare_room() {
        let joined = ApduBytes::concat([b"12", b"", b"345"]);
        assert_eq!((&*joined, joined.0.capacity()), (&b"12345"[..], 5));
    }
}
