//! Random numbers of the operating system.

use std::io;

use cardbroker_core::keyed_hash::HashKey;
use zeroize::Zeroizing;

/// Makes a random key for keyed hashes.
///
/// # Errors
/// The system has no random numbers.
pub fn hash_key() -> io::Result<HashKey> {
    let mut key = Zeroizing::new([0; 64]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    Ok(HashKey::new(&key))
}
