//! Whether a client sends very many requests at once, which decides how many bytes are read of its connection at a
//! time. Pure.

/// The bytes of a reading for which few tokens or none are left.
pub(super) const SHORT_READING_BYTES: usize = 512;

/// The bytes of any other reading: after about a dozen requests the other connections come first.
pub(super) const LONG_READING_BYTES: usize = 2_048;

/// The calls of one reading after which the next ones are short.
const MANY_CALLS: usize = 4;

/// The readings without a call after which a burst is over, so that a long body is read fast.
const QUIET_READINGS: u32 = 4;

/// Whether the client sends very many requests at once. It is then read a few requests at a time, between the tasks of
/// other connections.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// The calls that had begun when the connection was read last.
    begun: usize,
    /// Whether the last reading was one of a burst.
    is_on: bool,
    /// The last readings without a call: parts of a body.
    quiet: u32,
}

impl Burst {
    /// Whether the client bursts; `begun` is the number of calls so far.
    pub(super) fn is_burst(&self, begun: usize) -> bool {
        let calls = begun.wrapping_sub(self.begun);
        calls > MANY_CALLS || self.is_on && (calls > 0 || self.quiet < QUIET_READINGS)
    }

    /// Returns the maximum number of bytes of the next reading.
    pub(super) fn limit(&self, begun: usize) -> usize {
        if self.is_burst(begun) { SHORT_READING_BYTES } else { LONG_READING_BYTES }
    }

    /// Records a reading, whose calls have not begun yet.
    pub(super) fn on_read(&mut self, begun: usize) {
        let quiet = if begun == self.begun { self.quiet.saturating_add(1) } else { 0 };
        *self = Self { begun, is_on: self.is_burst(begun), quiet };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_requests_at_once_are_read_a_few_at_a_time() {
        let mut burst = Burst::default();
        burst.on_read(0);
        assert_eq!((burst.limit(MANY_CALLS), burst.limit(MANY_CALLS + 1)), (LONG_READING_BYTES, SHORT_READING_BYTES));
        burst.on_read(60);
        burst.on_read(61);
        assert_eq!(burst.limit(62), SHORT_READING_BYTES, "one call after the other");
        for _ in 0..=QUIET_READINGS {
            assert_eq!(burst.limit(62), SHORT_READING_BYTES);
            burst.on_read(62);
        }
        assert_eq!(burst.limit(62), LONG_READING_BYTES, "it sends a body");
    }
}
