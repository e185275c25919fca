//! Random numbers of the operating system.

use std::io;

use cardbroker_core::keyed_hash::HashKey;
use zeroize::Zeroizing;

/// Creates a unique id: 64 random bits in hexadecimal, 16 digits.
///
/// # Errors
/// The system cannot provide random bytes.
pub fn fresh_id() -> io::Result<String> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(hex::encode(id))
}

/// Creates a number from 1 to 2³¹ − 1.
///
/// # Errors
/// The system cannot provide random bytes.
pub fn number() -> io::Result<u32> {
    let mut number = [0; 4];
    getrandom::fill(&mut number).map_err(io::Error::other)?;
    Ok((u32::from_ne_bytes(number) >> 1).max(1))
}

/// Creates a random key for keyed hashes.
///
/// # Errors
/// The system cannot provide random bytes.
pub fn hash_key() -> io::Result<HashKey> {
    let mut key = Zeroizing::new([0; 64]);
    getrandom::fill(&mut *key).map_err(io::Error::other)?;
    Ok(HashKey::new(&key))
}
