//! Random numbers of the operating system.

use std::io;

use cardbroker_core::keyed_hash::HashKey;
use zeroize::Zeroizing;

/// Makes an id that no other run of a broker has: 64 random bits in hexadecimal.
///
/// # Errors
/// The system has no random numbers.
pub fn fresh_id() -> io::Result<String> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(hex::encode(id))
}

/// Makes a random key for keyed hashes.
///
/// # Errors
/// The system has no random numbers.
pub fn hash_key() -> io::Result<HashKey> {
    let mut key = Zeroizing::new([0; 64]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    Ok(HashKey::new(&key))
}
