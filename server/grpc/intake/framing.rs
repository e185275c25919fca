//! The boundaries of messages in a request's body (gRPC over HTTP/2, "Length-Prefixed-Message").

/// A flag byte, and the length in four bytes, big-endian.
const HEADER_BYTES: usize = 5;

/// The position in the body after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The chunk ends at the end of a message.
    Complete,
    /// The chunk ends within a message.
    Unfinished {
        /// The length from the message's header; 0 while the header is incomplete.
        announced: usize,
        /// Whether the message began in this chunk.
        is_new: bool,
    },
}

/// A part of a message, in the order of the body.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// A message of this length begins.
    Begin(usize),
    /// The next bytes of the message.
    Bytes(&'a [u8]),
}

/// Follows the messages of one body, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Framing {
    header: [u8; HEADER_BYTES],
    /// The number of header bytes received so far.
    header_bytes: usize,
    /// The number of message bytes still to come.
    missing: usize,
}

impl Framing {
    /// Takes the next bytes of the body and returns the position after them. Shows the parts of the messages: the
    /// announced length of each, and its bytes in pieces.
    pub(super) fn take(&mut self, mut chunk: &[u8], mut on_part: impl FnMut(Part<'_>)) -> Progress {
        let mut is_new = self.header_bytes == 0;
        while !chunk.is_empty() {
            if self.header_bytes < HEADER_BYTES {
                let (part, rest) = chunk.split_at(chunk.len().min(HEADER_BYTES - self.header_bytes));
                self.header[self.header_bytes..][..part.len()].copy_from_slice(part);
                self.header_bytes += part.len();
                chunk = rest;
                if self.header_bytes == HEADER_BYTES {
                    self.missing = self.announced();
                    on_part(Part::Begin(self.missing));
                }
            } else {
                let part = chunk.len().min(self.missing);
                self.missing -= part;
                let (part, rest) = chunk.split_at(part);
                on_part(Part::Bytes(part));
                chunk = rest;
            }
            if self.header_bytes == HEADER_BYTES && self.missing == 0 {
                (self.header_bytes, is_new) = (0, true);
            }
        }
        match self.header_bytes {
            0 => Progress::Complete,
            HEADER_BYTES => Progress::Unfinished { announced: self.announced(), is_new },
            _ => Progress::Unfinished { announced: 0, is_new },
        }
    }

    fn announced(&self) -> usize {
        let [_flag, length @ ..] = self.header;
        u32::from_be_bytes(length) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(bytes: usize) -> Vec<u8> {
        let length = (bytes as u32).to_be_bytes();
        [&[0], &length[..], &vec![0xAA; bytes]].concat()
    }

    #[test]
    fn a_message_is_unfinished_until_its_last_byte() {
        let unfinished = |announced, is_new| Progress::Unfinished { announced, is_new };
        let mut framing = Framing::default();
        assert_eq!(framing.take(&[0, 0, 0], |_| {}), unfinished(0, true));
        assert_eq!(framing.take(&[1, 0], |_| {}), unfinished(256, false));
        assert_eq!(framing.take(&[7; 255], |_| {}), unfinished(256, false));
        assert_eq!(framing.take(&[7], |_| {}), Progress::Complete);
        assert_eq!(framing.take(&[&message(0)[..], &message(3), &[0]].concat(), |_| {}), unfinished(0, true));
        assert_eq!(framing.take(&[0, 0, 0, 1, 7, 0], |_| {}), unfinished(0, true), "one ends where the next begins");
    }

    proptest! {
        #[test]
        fn the_parts_are_the_messages(
            lengths in prop::collection::vec(0usize..40, 1..8),
            cut in 1usize..50,
        ) {
            let body: Vec<u8> = lengths.iter().flat_map(|bytes| message(*bytes)).collect();
            let (mut framing, mut seen) = (Framing::default(), Vec::<(usize, usize)>::new());
            for chunk in body.chunks(cut) {
                framing.take(chunk, |part| match part {
                    Part::Begin(length) => seen.push((length, 0)),
                    Part::Bytes(bytes) => seen.last_mut().unwrap().1 += bytes.len(),
                });
            }
            prop_assert_eq!(seen, lengths.iter().map(|length| (*length, *length)).collect::<Vec<_>>());
        }

        #[test]
        fn a_body_is_complete_exactly_at_the_ends_of_messages(
            lengths in prop::collection::vec(0usize..40, 1..8),
            cuts in prop::collection::vec(1usize..50, 1..80),
        ) {
            let body: Vec<u8> = lengths.iter().flat_map(|bytes| message(*bytes)).collect();
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, bytes| { *end += HEADER_BYTES + bytes; Some(*end) })
                .collect();
            let (mut framing, mut at) = (Framing::default(), 0);
            for cut in cuts {
                let next = body.len().min(at + cut);
                let complete = framing.take(&body[at..next], |_| {}) == Progress::Complete;
                at = next;
                prop_assert_eq!(complete, ends.contains(&at));
            }
        }
    }
}
