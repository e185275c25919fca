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

/// The application's standard for a value in front of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// It has so many bytes.
    Fixed(usize),
    /// The two have at least so many bytes.
    AtLeast { old: usize, new: usize },
    /// Nothing, or no standard is known.
    Unknown,
}

/// The fewest bytes of a PIN where no standard is known, in data that have room for two.
const USUAL: usize = 4;

/// Data that consist of two values.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Leading {
    /// The hash of each beginning, from one byte to [`MAX_LEADING_BYTES`].
    beginnings: Vec<KeyedHash>,
    whole: KeyedHash,
    /// The hash of the last bytes, as many as the new value has at least.
    ending: KeyedHash,
    /// The fewest and the most bytes of the first value.
    possible: [usize; 2],
}

/// The conclusion from the refusal of a value about another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Nothing: they are different values.
    Other,
    /// It begins with the refused value, but it may be longer.
    Begins,
    /// It begins like refused data, but it may be longer than the common beginning.
    Similar,
    /// It is the refused value.
    Same,
}

impl Layout {
    /// The fewest and the most bytes that the first of two values can have, and the fewest of the second.
    fn lengths(self, data: &[u8]) -> ([usize; 2], usize) {
        let (all, half) = (data.len(), data.len() / 2);
        let is_padding = |at: usize| at > 0 && matches!(data.get(at - 1), Some(0x00 | 0xFF));
        let (old, new) = match self {
            Self::Fixed(length) => return ([length.min(all); 2], 0),
            // Padded values have one length.
            Self::Unknown if all.is_multiple_of(2) && (is_padding(half) || is_padding(all)) => return ([half; 2], 0),
            // Data with a shorter common beginning have different old values much more often than the same one.
            Self::Unknown => (USUAL.min(half).max(all.div_ceil(3)), USUAL.min(half)),
            Self::AtLeast { old, new } => (old, new),
        };
        let most = all.saturating_sub(new).max(old).min(all);
        ([old.min(all), most], new)
    }
}

impl Value {
    /// Hashes data that are one value.
    pub(super) fn alone(key: &HashKey, data: &[u8]) -> Self {
        Self::Alone(hash(key, "value", data))
    }

    /// Hashes data that begin with a value.
    pub(super) fn leading(key: &HashKey, data: &[u8], layout: Layout) -> Self {
        let (possible, new) = layout.lengths(data);
        if let [length, most] = possible
            && length == most
        {
            return Self::alone(key, data.get(..length).unwrap_or(data));
        }
        let beginnings = (1..=data.len().min(MAX_LEADING_BYTES)).map(|length| hash(key, "value", &data[..length]));
        Self::Leading(Box::new(Leading {
            beginnings: beginnings.collect(),
            whole: hash(key, "whole", data),
            ending: hash(key, "ending", &data[data.len().saturating_sub(new)..]),
            possible,
        }))
    }

    /// Hashes a command whose value is uncertain.
    pub(super) fn bytes(key: &HashKey, command: &[u8], read: Option<Self>) -> Self {
        Self::Bytes { exact: hash(key, "bytes", command), read: read.map(Box::new) }
    }

    /// The end of data that consist of two values: the new one, or its last bytes.
    pub(super) fn ending(&self) -> Option<&KeyedHash> {
        match self {
            Self::Alone(_) => None,
            Self::Leading(data) => Some(&data.ending),
            Self::Bytes { read, .. } => read.as_ref().and_then(|read| read.ending()),
        }
    }

    /// The conclusion from the refusal of this value about `other`.
    ///
    /// In front of a new value a card compares as many bytes as its own PIN has. So it has refused every beginning of
    /// refused data, and other data are certainly refused if the refused ones have all beginnings that can be their old
    /// value. A longer common beginning than the shortest old value, with another new value behind it, is a sign of the
    /// same old value, but no proof: the last bytes of the old one may have been corrected.
    pub(super) fn likeness(&self, other: &Self) -> Likeness {
        let same = |is_same| if is_same { Likeness::Same } else { Likeness::Other };
        match (self, other) {
            (Self::Bytes { exact, .. }, Self::Bytes { exact: other, .. }) => same(exact == other),
            (Self::Bytes { read, .. }, other) => read.as_ref().map_or(Likeness::Other, |read| read.likeness(other)),
            (_, Self::Bytes { read, .. }) => read.as_ref().map_or(Likeness::Other, |read| self.likeness(read)),
            (Self::Alone(one), Self::Alone(other)) => same(one == other),
            (Self::Leading(data), Self::Alone(value)) => same(data.beginnings.contains(value)),
            (Self::Alone(value), Self::Leading(data)) => {
                let [least, most] = data.possible;
                let length = data.beginnings.iter().position(|beginning| beginning == value).map(|at| at + 1);
                if length.is_some_and(|length| (least..=most).contains(&length)) {
                    Likeness::Begins
                } else {
                    Likeness::Other
                }
            }
            (Self::Leading(one), Self::Leading(other)) => one.likeness(other),
        }
    }
}

impl Leading {
    fn likeness(&self, other: &Self) -> Likeness {
        let pairs = self.beginnings.iter().zip(&other.beginnings);
        let common = pairs.take_while(|(one, other)| one == other).count();
        let ([least, _], [other_least, most]) = (self.possible, other.possible);
        match common {
            _ if self.whole == other.whole || common >= most => Likeness::Same,
            _ if common >= least.max(other_least) && self.ending != other.ending => Likeness::Similar,
            _ => Likeness::Other,
        }
    }
}

fn hash(key: &HashKey, what: &str, bytes: &[u8]) -> KeyedHash {
    let mut hasher = key.hasher();
    hasher.part(what.as_bytes());
    hasher.part(bytes);
    hasher.finish()
}
