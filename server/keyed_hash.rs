//! Keyed hashes of what the broker must recognise but not keep: PINs, and the commands of a request.

use std::{io, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of one run of the broker. Cheap to clone; it never leaves the process, so nobody can try values against a hash.
#[derive(Clone)]
pub(crate) struct HashKey(Arc<[u8; 64]>);

/// A hash under a [`HashKey`].
pub(crate) type KeyedHash = [u8; 32];

/// A hash in the making.
pub(crate) struct Hasher(Hmac<Sha256>);

impl HashKey {
    /// A key that nobody knows.
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
        Hasher(Hmac::new(&(*self.0).into()))
    }
}

impl Hasher {
    /// Adds a part, with its length, so that no two lists of parts look alike.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// The hash of all parts.
    pub(crate) fn finish(self) -> KeyedHash {
        self.0.finalize().into_bytes().into()
    }
}
