//! Counts the fields of a protobuf message while its bytes arrive, so that a message of very many fields is refused
//! before it is decoded. Decoding one mebibyte of empty fields takes a hundred times as long as counting a few of them.

/// The most fields of a message, with those of the messages inside. The longest valid unit has 64 commands, each with
/// 16 patterns: about 3,700 fields.
pub const MAX_FIELDS: u32 = 4_096;

/// The fields of a message that are messages. All others are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(pub &'static [(u32, &'static Shape)]);

impl Shape {
    /// A message without messages inside.
    pub const FLAT: Self = Self(&[]);
}

/// The message has more than [`MAX_FIELDS`] fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The count of one message that has arrived in part.
#[derive(Debug)]
pub struct Fields {
    /// The number of fields so far.
    count: u32,
    /// The number of bytes so far.
    position: u64,
    /// The messages that have begun and not ended, the outer ones first: their ends and their shapes.
    open: Vec<(u64, &'static Shape)>,
    next: Next,
}

/// The meaning of the next byte.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// A part of the number and the type of a field.
    Tag(Varint),
    /// A part of the length of the field of this number.
    Length(u32, Varint),
    /// A part of a number.
    Number(Varint),
    /// The value of a field, so many bytes.
    Value(u64),
    /// The message cannot be decoded.
    Invalid,
}

/// The bytes of a number so far, seven bits in each.
#[derive(Debug, Clone, Copy, Default)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Varint {
    /// Adds a byte: the number if it was the last one, or the part so far. `Err(None)` if there are too many bytes.
    fn push(self, byte: u8) -> Result<u64, Option<Self>> {
        if self.bits >= 70 {
            return Err(None);
        }
        let value = self.value | u64::from(byte & 0x7F).checked_shl(self.bits).unwrap_or(0);
        if byte < 0x80 { Ok(value) } else { Err(Some(Self { value, bits: self.bits + 7 })) }
    }
}

impl Fields {
    /// Begins a message of `length` bytes.
    pub fn new(shape: &'static Shape, length: u64) -> Self {
        Self { count: 0, position: 0, open: vec![(length, shape)], next: Next::Tag(Varint::default()) }
    }

    /// The number of fields so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Takes the next bytes of the message. What cannot be decoded is left to the decoder.
    ///
    /// # Errors
    /// [`TooMany`] at the first field beyond the limit.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), TooMany> {
        while let Some((byte, rest)) = bytes.split_first() {
            let used = match self.next {
                Next::Invalid => return Ok(()),
                Next::Value(length) => {
                    let used = length.min(bytes.len() as u64);
                    self.next = if used == length { Next::tag() } else { Next::Value(length - used) };
                    used
                }
                Next::Tag(tag) => {
                    self.next = match tag.push(*byte) {
                        Ok(tag) => self.field(tag)?,
                        Err(part) => part.map_or(Next::Invalid, Next::Tag),
                    };
                    1
                }
                Next::Number(number) => {
                    self.next = match number.push(*byte) {
                        Ok(_) => Next::tag(),
                        Err(part) => part.map_or(Next::Invalid, Next::Number),
                    };
                    1
                }
                Next::Length(field, length) => {
                    self.next = match length.push(*byte) {
                        Ok(length) => self.value(field, length),
                        Err(part) => part.map_or(Next::Invalid, |part| Next::Length(field, part)),
                    };
                    1
                }
            };
            self.position += used;
            bytes = if used == 1 {
                rest
            } else {
                usize::try_from(used).ok().and_then(|used| bytes.get(used..)).unwrap_or_default()
            };
            if matches!(self.next, Next::Tag(Varint { bits: 0, .. })) {
                while self.open.len() > 1 && self.open.last().is_some_and(|(end, _)| *end <= self.position) {
                    self.open.pop();
                }
            }
        }
        Ok(())
    }

    /// Counts a field, and returns the meaning of the byte after its tag.
    fn field(&mut self, tag: u64) -> Result<Next, TooMany> {
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(TooMany);
        }
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        Ok(match tag & 7 {
            0 => Next::Number(Varint::default()),
            1 => Next::Value(8),
            2 => Next::Length(number, Varint::default()),
            // The begin or the end of a group, which has no value of its own.
            3 | 4 => Next::tag(),
            5 => Next::Value(4),
            _ => Next::Invalid,
        })
    }

    /// Enters a message, or skips the value of a field, whose length ends with the next byte.
    fn value(&mut self, field: u32, length: u64) -> Next {
        let begin = self.position + 1;
        let (Some((parent_end, shape)), Some(end)) = (self.open.last().copied(), begin.checked_add(length)) else {
            return Next::Invalid;
        };
        if end > parent_end {
            return Next::Invalid;
        }
        match shape.0.iter().find(|(number, _)| *number == field) {
            Some((_, inner)) => {
                self.open.push((end, inner));
                Next::tag()
            }
            None if length == 0 => Next::tag(),
            None => Next::Value(length),
        }
    }
}

impl Next {
    fn tag() -> Self {
        Self::Tag(Varint::default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PATTERN: Shape = Shape::FLAT;
    const COMMAND: Shape = Shape(&[(6, &PATTERN)]);
    const UNIT: Shape = Shape(&[(2, &COMMAND)]);

    /// Counts the fields of a whole message; `None` if it cannot be decoded.
    fn reference(mut bytes: &[u8], shape: &Shape) -> Option<u32> {
        fn varint(bytes: &mut &[u8]) -> Option<u64> {
            let last = bytes.iter().take(10).position(|byte| *byte < 0x80)?;
            let (number, rest) = bytes.split_at(last + 1);
            *bytes = rest;
            Some(number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F)))
        }
        let mut count = 0;
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            count += 1;
            let length = match tag & 7 {
                0 => varint(&mut bytes).map(|_| 0)?,
                1 => 8,
                2 => varint(&mut bytes)?,
                3 | 4 => 0,
                5 => 4,
                _ => return None,
            };
            let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            bytes = rest;
            let inner = shape.0.iter().find(|(number, _)| tag & 7 == 2 && u64::from(*number) == tag >> 3);
            count += inner.map_or(Some(0), |(_, inner)| reference(value, inner))?;
        }
        Some(count)
    }

    fn count(bytes: &[u8], chunk: usize) -> Result<u32, TooMany> {
        let mut fields = Fields::new(&UNIT, bytes.len() as u64);
        bytes.chunks(chunk.max(1)).try_for_each(|chunk| fields.take(chunk))?;
        Ok(fields.count())
    }

    #[test]
    fn the_first_field_beyond_the_limit_is_refused() {
        let empties = |count: usize| [0x12, 0].repeat(count);
        assert_eq!(count(&empties(MAX_FIELDS as usize), 100), Ok(MAX_FIELDS));
        let mut fields = Fields::new(&UNIT, 1 << 20);
        assert_eq!(fields.take(&empties(524_000)), Err(TooMany));
        assert_eq!(fields.position, 2 * u64::from(MAX_FIELDS), "the rest is not looked at");
    }

    #[test]
    fn fields_of_inner_messages_count_and_bytes_do_not() {
        let within = |field: u8, bytes: &[u8]| [&[field << 3 | 2, bytes.len() as u8][..], bytes].concat();
        let patterns = [0x32, 0].repeat(50);
        assert_eq!(count(&within(2, &patterns), 1), Ok(51));
        assert_eq!(count(&within(3, &patterns), 1), Ok(1), "another field is skipped");
        assert_eq!(count(&within(2, &within(1, &patterns)), 7), Ok(2), "bytes of an APDU are skipped");
        let many = [0x12, 0x80 | 0x20, 0x4E].into_iter().chain([0x32, 0].repeat(5_008)).collect::<Vec<_>>();
        assert_eq!(count(&many, 16), Err(TooMany));
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let field = prop_oneof![
            Just(vec![0x12, 0]),
            vec(any::<u8>(), 0..12).prop_map(|bytes| [&[0x12, bytes.len() as u8][..], &bytes].concat()),
            vec(Just([0x32_u8, 2, 8, 1]), 0..5).prop_map(|patterns| {
                let patterns = patterns.concat();
                [&[0x12, patterns.len() as u8][..], &patterns].concat()
            }),
            Just(vec![0x08, 0xFF, 0x01]),
            vec(any::<u8>(), 0..6),
        ];
        vec(field, 0..40).prop_map(|fields| fields.concat())
    }

    proptest! {
        #[test]
        fn chunks_do_not_change_the_count(bytes in message(), chunk in 1usize..20) {
            let counted = count(&bytes, chunk);
            prop_assert_eq!(counted, count(&bytes, usize::MAX));
            if let Some(expected) = reference(&bytes, &UNIT) {
                prop_assert_eq!(counted, Ok(expected));
            }
        }
    }
}
