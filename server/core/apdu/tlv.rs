//! BER-TLV data objects in the data field of a response (ISO 7816-4 §6.3).

/// The maximum number of tag bytes after the first.
const MAX_LATER_TAG_BYTES: usize = 2;

/// Iterates over consecutive data objects in `bytes`: the tag (one to three bytes, big-endian) and the value. Stops at
/// the first object that is malformed or truncated.
pub fn data_objects(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (tag, after_tag) = tag(rest)?;
        let (length, after_length) = length(after_tag)?;
        let (value, after) = after_length.split_at_checked(length)?;
        rest = after;
        Some((tag, value))
    })
}

fn tag(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut tag = u32::from(first);
    if first & 0x1F == 0x1F {
        for _ in 0..MAX_LATER_TAG_BYTES {
            let (&later, after) = rest.split_first()?;
            (tag, rest) = (tag << 8 | u32::from(later), after);
            if later & 0x80 == 0 {
                return Some((tag, rest));
            }
        }
        return None;
    }
    Some((tag, rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ 0..=0x7F, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, length, rest @ ..] => Some((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => Some((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::properties::holds;

    fn read(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        data_objects(bytes).map(|(tag, value)| (tag, value.to_vec())).collect()
    }

    #[test]
    fn tags_and_lengths_of_every_form_are_parsed() {
        assert_eq!(read(&[0x84, 1, 7, 0x50, 0]), [(0x84, vec![7]), (0x50, vec![])]);
        assert_eq!(
            read(&[0xBF, 0x0C, 0x81, 1, 9, 0x5F, 0x81, 0x02, 0x82, 0, 1, 5]),
            [(0xBF0C, vec![9]), (0x5F8102, vec![5])]
        );
    }

    #[test]
    fn truncated_objects_are_left_out() {
        for broken in [
            &[0x84][..],
            &[0x84, 2, 1],
            &[0x84, 0x80, 0, 0],
            &[0x84, 0x83, 0, 0, 0],
            &[0x5F],
            &[0x5F, 0x81, 0x82, 0x03],
        ] {
            assert_eq!(read(broken), []);
            assert_eq!(read(&[&[0x6F, 0], broken].concat()), [(0x6F, vec![])]);
        }
    }

    #[test]
    fn arbitrary_bytes_are_parsed_without_a_panic() {
        holds(2000, vec(any::<u8>(), 0..40), |bytes| {
            let values: usize = data_objects(&bytes).map(|(_, value)| value.len() + 2).sum();
            prop_assert!(values <= bytes.len());
            Ok(())
        });
    }
}
