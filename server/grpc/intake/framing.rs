//! Where messages begin and end in a request's body (gRPC over HTTP/2, "Length-Prefixed-Message"). Pure.

/// A flag byte, and the length in four bytes, the highest first.
const HEADER_BYTES: usize = 5;

/// What of a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body ends where a message ends, or nothing has come yet.
    Complete,
    /// Some of a message is missing.
    Unfinished {
        /// How long its header says it is; 0 while the header has not come.
        announced: usize,
    },
}

/// Follows one body, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Framing {
    header: [u8; HEADER_BYTES],
    /// How much of the header has come.
    header_bytes: usize,
    /// How much of the message has not.
    missing: usize,
}

impl Framing {
    /// Takes the next bytes of the body. Returns where they leave it.
    pub(super) fn take(&mut self, mut chunk: &[u8]) -> Progress {
        while !chunk.is_empty() {
            if self.header_bytes < HEADER_BYTES {
                let (part, rest) = chunk.split_at(chunk.len().min(HEADER_BYTES - self.header_bytes));
                self.header[self.header_bytes..][..part.len()].copy_from_slice(part);
                self.header_bytes += part.len();
                chunk = rest;
                if self.header_bytes == HEADER_BYTES {
                    self.missing = self.announced();
                }
            } else {
                let part = chunk.len().min(self.missing);
                self.missing -= part;
                chunk = &chunk[part..];
            }
            if self.header_bytes == HEADER_BYTES && self.missing == 0 {
                self.header_bytes = 0;
            }
        }
        self.progress()
    }

    /// Returns what of the message under way has come.
    pub(super) fn progress(&self) -> Progress {
        match self.header_bytes {
            0 => Progress::Complete,
            HEADER_BYTES => Progress::Unfinished { announced: self.announced() },
            _ => Progress::Unfinished { announced: 0 },
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
    fn a_message_is_unfinished_until_its_last_byte_has_come() {
        let mut framing = Framing::default();
        assert_eq!(framing.progress(), Progress::Complete);
        assert_eq!(framing.take(&[0, 0, 0]), Progress::Unfinished { announced: 0 });
        assert_eq!(framing.take(&[1, 0]), Progress::Unfinished { announced: 256 });
        assert_eq!(framing.take(&[7; 255]), Progress::Unfinished { announced: 256 });
        assert_eq!(framing.take(&[7]), Progress::Complete);
        assert_eq!(framing.take(&[&message(0)[..], &message(3), &[0]].concat()), Progress::Unfinished { announced: 0 });
    }

    proptest! {
        #[test]
        fn however_a_body_is_cut_it_is_complete_just_at_the_ends_of_messages(
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
                let complete = framing.take(&body[at..next]) == Progress::Complete;
                at = next;
                prop_assert_eq!(complete, ends.contains(&at));
            }
        }
    }
}
