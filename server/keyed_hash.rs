//! Keyed hashes of what the broker must recognise but not keep: PINs, and the commands of a request.

use std::{fmt, io, sync::Arc};

use hmac::{HmacReset, KeyInit, Mac, digest::FixedOutputReset};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The key of one run of the broker. Cheap to clone; it never leaves the process, so nobody can try values against a hash.
#[derive(Clone)]
pub(crate) struct HashKey(Arc<[u8; 64]>);

/// A hash under a [`HashKey`], as secret as the bytes behind it. It lives on the heap and moves as a pointer: a value that moves leaves
/// a copy behind on the stack, which nothing wipes.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedHash(Box<Zeroizing<[u8; 32]>>);

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a keyed hash")
    }
}

/// A hash in the making. Its state holds the last block of what it was given, so it is used by reference only, as [`KeyedHash`] is.
pub(crate) struct Hasher(Box<HmacReset<Sha256>>);

impl HashKey {
    /// Makes a random key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn random() -> io::Result<Self> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self(Arc::new(key)))
    }

    /// Begins a hash.
    pub(crate) fn hasher(&self) -> Hasher {
        Hasher(Box::new(HmacReset::new(&(*self.0).into())))
    }
}

impl Hasher {
    /// Adds a part, with its length, so that no two lists of parts look alike.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        Mac::update(&mut *self.0, &(bytes.len() as u64).to_be_bytes());
        Mac::update(&mut *self.0, bytes);
    }

    /// Returns the hash of all parts.
    pub(crate) fn finish(mut self) -> KeyedHash {
        let mut hash = KeyedHash(Box::default());
        self.0.finalize_into_reset((&mut **hash.0).into());
        hash
    }
}

#[cfg(test)]
impl From<[u8; 32]> for KeyedHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Box::new(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_key_and_on_where_parts_end() {
        let (key, other) = (HashKey::random().unwrap(), HashKey::random().unwrap());
        let hash = |key: &HashKey, parts: &[&str]| {
            let mut hasher = key.hasher();
            parts.iter().for_each(|part| hasher.part(part.as_bytes()));
            hasher.finish()
        };
        assert_eq!(hash(&key, &["a", "bc"]), hash(&key, &["a", "bc"]));
        assert_ne!(hash(&key, &["a", "bc"]), hash(&key, &["ab", "c"]));
        assert_ne!(hash(&key, &["a", "bc"]), hash(&other, &["a", "bc"]));
    }
}
