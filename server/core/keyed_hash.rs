//! Keyed hashes of values that the broker must recognise but not keep: PINs, and the commands of a request.
//!
//! The hash of a PIN is only as safe as the key: with both, an attacker finds a four-digit PIN in 10,000 tries. So the
//! key is hashed once, into states on the heap that are used by reference, and the stack below a hash is wiped: `hmac`
//! leaves its inner hash there, `sha2` the hash itself.
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

/// Words of stack to wipe: 8 KiB, deeper than the stack of a hash.
const STACK_WORDS: usize = 1024;

/// The key of one run of the broker. Cheap to clone. It never leaves the process, so nobody outside can test guesses
/// against a hash.
#[derive(Clone)]
pub struct HashKey(Arc<Mutex<Keyed>>);

/// The state of a hash under a key. It moves as a pointer, because a moved value leaves a copy on the stack.
type Keyed = Box<HmacReset<Sha256>>;

/// A hash under a [`HashKey`], as secret as its input. It lives on the heap, like the state of a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedHash(Box<Zeroizing<[u8; 32]>>);

impl fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a keyed hash")
    }
}

/// An unfinished hash. Other hashes under the same key wait for it. Its state contains the last block of its parts.
pub struct Hasher<'a>(MutexGuard<'a, Keyed>);

impl HashKey {
    /// Creates a key from random bytes. The caller wipes `key`.
    pub fn new(key: &[u8; 64]) -> Self {
        let keyed = keyed(key);
        wipe_stack();
        Self(Arc::new(Mutex::new(keyed)))
    }

    /// Begins a hash. Blocks while another hash under the same key is unfinished.
    pub fn hasher(&self) -> Hasher<'_> {
        Hasher(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hasher<'_> {
    /// Adds a part, with its length, so that different lists of parts never have the same input.
    pub fn part(&mut self, bytes: &[u8]) {
        Mac::update(&mut **self.0, &(bytes.len() as u64).to_be_bytes());
        Mac::update(&mut **self.0, bytes);
    }

    /// Returns the hash of all parts, in their order.
    pub fn finish(mut self) -> KeyedHash {
        let mut hash = KeyedHash(Box::default());
        finalize(&mut self.0, &mut hash.0);
        wipe_stack();
        hash
    }
}

/// Removes all parts from the state, also from a hash that was not finished.
impl Drop for Hasher<'_> {
    fn drop(&mut self) {
        Reset::reset(&mut **self.0);
    }
}

/// Not inlined, so that its stack frame is in the area that [`wipe_stack`] overwrites.
#[inline(never)]
fn keyed(key: &[u8; 64]) -> Keyed {
    Box::new(HmacReset::new(key.into()))
}

/// Not inlined, for the reason given at [`keyed`].
#[inline(never)]
fn finalize(keyed: &mut HmacReset<Sha256>, hash: &mut [u8; 32]) {
    keyed.finalize_into_reset(hash.into());
}

/// Overwrites the stack area of functions that the caller called before.
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
    fn a_hash_depends_on_the_key_and_part_boundaries() {
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
    fn an_unfinished_hash_does_not_affect_the_next() {
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

    /// The stack of the calling thread, from some bytes above this frame to far below it.
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
