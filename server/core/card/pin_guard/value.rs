//! A presented value, as keyed hashes that can be compared with those of other commands. As secret as the value.

use crate::keyed_hash::{HashKey, KeyedHash};

/// The longest value that is compared in front of another one, in bytes: a PIN of an OpenPGP card that stores hashes.
const MAX_LEADING_BYTES: usize = 64;

/// A value in a command. Has no `Debug`, because hashes of short values are easily inverted with the key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// The data are one value.
    Alone(KeyedHash),
    /// The data begin with the value, and another value follows. The card knows the length of the first, the guard does
    /// not.
    Leading(Box<Leading>),
    /// Bytes whose value is uncertain. They are the same as equal bytes, and as `read`, the value by their length
    /// field.
    Bytes { exact: KeyedHash, read: Option<Box<Value>> },
}

/// Data that consist of two values.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Leading {
    /// The hash of each beginning, from one byte to [`MAX_LEADING_BYTES`].
    beginnings: Vec<KeyedHash>,
    whole: KeyedHash,
    /// The hash of the last byte.
    ending: KeyedHash,
    length: usize,
}

impl Value {
    /// Hashes data that are one value.
    pub(super) fn alone(key: &HashKey, data: &[u8]) -> Self {
        Self::Alone(hash(key, "value", data))
    }

    /// Hashes data that begin with a value. `fixed`: the number of its bytes, if the application's standard fixes it.
    pub(super) fn leading(key: &HashKey, data: &[u8], fixed: Option<usize>) -> Self {
        if let Some(value) = fixed.and_then(|length| data.get(..length)) {
            return Self::alone(key, value);
        }
        let beginnings = (1..=data.len().min(MAX_LEADING_BYTES)).map(|length| hash(key, "value", &data[..length]));
        Self::Leading(Box::new(Leading {
            beginnings: beginnings.collect(),
            whole: hash(key, "whole", data),
            ending: hash(key, "ending", data.last().map_or(&[], std::slice::from_ref)),
            length: data.len(),
        }))
    }

    /// Hashes a command whose value is uncertain.
    pub(super) fn bytes(key: &HashKey, command: &[u8], read: Option<Self>) -> Self {
        Self::Bytes { exact: hash(key, "bytes", command), read: read.map(Box::new) }
    }

    /// Whether both present the same value, as far as the guard can tell.
    ///
    /// A card compares as many bytes in front of another value as its own PIN has. So a value alone that is a beginning
    /// of refused data is certainly wrong. The reverse holds unless the card's PIN is longer than the refused value and
    /// begins with it. Two data of the same length have the same value if the first halves agree and the last bytes do
    /// not: another new PIN. If the last bytes agree, a typing error in the old PIN, of another length than the new
    /// one, may have been corrected.
    pub(super) fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes { exact, .. }, Self::Bytes { exact: other, .. }) => exact == other,
            (Self::Bytes { read, .. }, value) | (value, Self::Bytes { read, .. }) => {
                read.as_ref().is_some_and(|read| read.matches(value))
            }
            (Self::Alone(one), Self::Alone(other)) => one == other,
            (Self::Alone(value), Self::Leading(data)) | (Self::Leading(data), Self::Alone(value)) => {
                data.beginnings.contains(value)
            }
            (Self::Leading(one), Self::Leading(other)) => one.whole == other.whole || one.has_old_value_of(other),
        }
    }
}

impl Leading {
    fn has_old_value_of(&self, other: &Self) -> bool {
        let half = (self.length / 2).checked_sub(1);
        let halves = half.and_then(|half| self.beginnings.get(half).zip(other.beginnings.get(half)));
        self.length == other.length
            && self.length.is_multiple_of(2)
            && halves.is_some_and(|(one, other)| one == other)
            && self.ending != other.ending
    }
}

fn hash(key: &HashKey, what: &str, bytes: &[u8]) -> KeyedHash {
    let mut hasher = key.hasher();
    hasher.part(what.as_bytes());
    hasher.part(bytes);
    hasher.finish()
}
