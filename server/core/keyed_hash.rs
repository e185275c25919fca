//! Keyed hashes of values that the broker must recognise but not keep: PINs, and the commands of a request.
//!
//! The hash of a PIN is only as safe as the key: with both, a PIN of four digits is found in 10,000 tries. So the key
//! is hashed once, into states on the heap that are used by reference, and the stack below a hash is wiped: `hmac` leaves
//! its inner hash there, `sha2` the hash itself.
//!
//! Not wiped: the states and the remembered hashes, which stay on the heap as long as they are needed, and copies that
//! the compiler keeps in a register or in the frame of a caller.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hmac::{
    HmacReset, KeyInit, Mac,
    digest::{FixedOutputReset, Reset},
};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Deeper than the stack of a hash: 8 KiB.
const STACK_WORDS: usize = 1024;

/// The key of one run of the broker. Cheap to clone. It never leaves the process, so nobody can try values against a
/// hash.
#[derive(Clone)]
pub struct HashKey(Arc<Mutex<Keyed>>);

/// The states of a hash under a key. It moves as a pointer: a value that moves leaves a copy behind on the stack.
type Keyed = Box<HmacReset<Sha256>>;

/// A hash under a [`HashKey`], as secret as the bytes behind it. It lives on the heap, as the states under a key do.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedHash(Box<Zeroizing<[u8; 32]>>);

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a keyed hash")
    }
}

/// A hash in the making; others under the same key wait. Its state holds the last block of its parts.
pub struct Hasher<'a>(MutexGuard<'a, Keyed>);

impl HashKey {
    /// Makes the key of these random bytes, which the caller wipes.
    pub fn new(key: &[u8; 64]) -> Self {
        let keyed = keyed(key);
        wipe_stack();
        Self(Arc::new(Mutex::new(keyed)))
    }

    /// Begins a hash.
    pub fn hasher(&self) -> Hasher<'_> {
        Hasher(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hasher<'_> {
    /// Adds a part, with its length, so that no two lists of parts look alike.
    pub fn part(&mut self, bytes: &[u8]) {
        Mac::update(&mut **self.0, &(bytes.len() as u64).to_be_bytes());
        Mac::update(&mut **self.0, bytes);
    }

    /// Returns the hash of all parts.
    pub fn finish(mut self) -> KeyedHash {
        let mut hash = KeyedHash(Box::default());
        finalize(&mut self.0, &mut hash.0);
        wipe_stack();
        hash
    }
}

/// Without parts again, also if the hash was not finished.
impl Drop for Hasher<'_> {
    fn drop(&mut self) {
        Reset::reset(&mut **self.0);
    }
}

/// Not inlined, so that its stack is where [`wipe_stack`] has its own.
#[inline(never)]
fn keyed(key: &[u8; 64]) -> Keyed {
    Box::new(HmacReset::new(key.into()))
}

/// As [`keyed`].
#[inline(never)]
fn finalize(keyed: &mut HmacReset<Sha256>, hash: &mut [u8; 32]) {
    keyed.finalize_into_reset(hash.into());
}

/// Overwrites what functions that the caller called before have left on the stack.
#[inline(never)]
fn wipe_stack() {
    [u64::MAX; STACK_WORDS].zeroize();
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
        let (key, other) = (HashKey::new(&[1; 64]), HashKey::new(&[2; 64]));
        let hash = |key: &HashKey, parts: &[&str]| {
            let mut hasher = key.hasher();
            parts.iter().for_each(|part| hasher.part(part.as_bytes()));
            hasher.finish()
        };
        assert_eq!(hash(&key, &["a", "bc"]), hash(&key, &["a", "bc"]));
        assert_ne!(hash(&key, &["a", "bc"]), hash(&key, &["ab", "c"]));
        assert_ne!(hash(&key, &["a", "bc"]), hash(&other, &["a", "bc"]));
    }

    #[test]
    fn a_hash_that_was_not_finished_leaves_nothing_to_the_next() {
        let key = HashKey::new(&[1; 64]);
        let hash = |part: &[u8]| {
            let mut hasher = key.hasher();
            hasher.part(part);
            hasher.finish()
        };
        let first = hash(b"a");
        key.hasher().part(b"b");
        assert_eq!(hash(b"a"), first);
    }

    /// The stack of the thread that calls, from some bytes above this frame to far below it.
    #[cfg(target_os = "linux")]
    fn stack() -> Vec<u8> {
        use std::os::unix::fs::FileExt;

        let here = 0_u8;
        let mut stack = vec![0; 40 << 10];
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut stack, (&raw const here).addr() as u64 - (36 << 10)).unwrap();
        stack
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn neither_key_nor_hash_stays_on_the_stack() {
        use sha2::Digest;

        let seed: [u8; 64] = std::array::from_fn(|n| n as u8);
        let (stack, hash) = std::thread::spawn(move || {
            let key = Zeroizing::new(seed.map(|byte| byte.wrapping_mul(37)));
            let key = HashKey::new(&key);
            let mut hasher = key.hasher();
            hasher.part(b"12345678");
            let hash = hasher.finish();
            (stack(), hash)
        })
        .join()
        .unwrap();
        let padded = |pad: u8| seed.map(|byte| byte.wrapping_mul(37) ^ pad);
        let message = [&8_u64.to_be_bytes()[..], b"12345678"].concat();
        let inner: [u8; 32] = Sha256::digest([&padded(0x36)[..], &message].concat()).into();
        let outer: [u8; 32] = Sha256::digest([&padded(0x5C)[..], &inner].concat()).into();
        assert_eq!(hash, outer.into());
        for (name, secret) in
            [("inner key", &padded(0x36)[..]), ("outer key", &padded(0x5C)), ("inner hash", &inner), ("hash", &outer)]
        {
            for part in secret.chunks(16) {
                assert!(!stack.windows(16).any(|bytes| bytes == part), "{name}");
            }
        }
    }
}
