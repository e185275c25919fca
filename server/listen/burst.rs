//! Whether a client sends more at once than its requests need, which decides how many bytes are read of its connection
//! at a time. Pure.

/// The bytes of a reading for which few tokens or none are left.
pub(super) const SHORT_READING_BYTES: usize = 512;

/// The bytes of any other reading: after about a dozen requests the other connections come first.
pub(super) const LONG_READING_BYTES: usize = 2_048;

/// The calls of one reading after which the next ones are short.
const MANY_CALLS: usize = 4;

/// The readings with one call or none after which a burst of calls is over.
const CALM_READINGS: u32 = 4;

/// The bytes beside calls and messages, such as pings, after which the next readings are short. More than the longest
/// frame, because its message is counted when it is complete.
const MUCH_OVERHEAD_BYTES: usize = 32 * 1_024;

/// The bytes that a call may need beside its messages: its head, and answers to the broker's own frames.
const CALL_BYTES: usize = 1_024;

/// The bytes that a message may need for each byte of its own: the head of its frame, and flow control.
const BYTES_PER_MESSAGE_BYTE: usize = 3;

/// The bytes of long messages after which other connections come first for a while.
const LONG_MESSAGES_BYTES: usize = 256 * 1_024;

/// The bytes and messages that a connection has received so far, as the broker has understood them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// The calls that have begun.
    pub calls: usize,
    /// The bytes of their messages, without the heads of the frames.
    pub message_bytes: usize,
}

/// Whether the client sends very many requests at once, long messages one after the other, or much that is neither a
/// call nor a message. It is then read a little at a time, between the tasks of other connections.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// The amounts at the last reading of the connection.
    seen: Received,
    /// The bytes of the last reading.
    read: usize,
    /// Whether the last reading was one of a burst of calls.
    is_on: bool,
    /// The last readings with one call or none.
    calm: u32,
    /// The bytes of the readings before that were neither calls nor messages.
    overhead: usize,
    /// The bytes of readings without a call since the last rest: parts of long messages.
    long_messages: usize,
}

impl Burst {
    /// Whether the client bursts after it has sent all of `received`.
    pub(super) fn is_burst(&self, received: Received) -> bool {
        self.has_many_calls(received)
            || self.overhead(received) > MUCH_OVERHEAD_BYTES
            || self.long_messages > LONG_MESSAGES_BYTES
    }

    /// Returns the maximum number of bytes of the next reading.
    pub(super) fn limit(&self, received: Received) -> usize {
        if self.is_burst(received) { SHORT_READING_BYTES } else { LONG_READING_BYTES }
    }

    /// Records a reading of `read` bytes, whose calls and messages are not in `received` yet.
    pub(super) fn on_read(&mut self, received: Received, read: usize) {
        let calls = self.calls(received);
        *self = Self {
            seen: received,
            read,
            is_on: self.has_many_calls(received),
            calm: if calls > 1 { 0 } else { self.calm.saturating_add(1) },
            overhead: self.overhead(received),
            long_messages: if calls == 0 { self.long_messages.saturating_add(read) } else { self.long_messages },
        };
    }

    /// Records that other connections came first for a while.
    pub(super) fn rested(&mut self) {
        self.long_messages = 0;
    }

    fn has_many_calls(&self, received: Received) -> bool {
        let calls = self.calls(received);
        calls > MANY_CALLS || self.is_on && (calls > 1 || self.calm < CALM_READINGS)
    }

    /// The calls of the last reading.
    fn calls(&self, received: Received) -> usize {
        received.calls.wrapping_sub(self.seen.calls)
    }

    /// The bytes of all readings that were neither calls nor messages. Bounded, so that a good client recovers soon.
    fn overhead(&self, received: Received) -> usize {
        let message_bytes = received.message_bytes.wrapping_sub(self.seen.message_bytes);
        let needed = self.calls(received).saturating_mul(CALL_BYTES);
        let needed = needed.saturating_add(message_bytes.saturating_mul(BYTES_PER_MESSAGE_BYTE));
        (self.overhead + self.read).saturating_sub(needed).min(2 * MUCH_OVERHEAD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls in all.
    fn calls(calls: usize) -> Received {
        Received { calls, message_bytes: 0 }
    }

    #[test]
    fn very_many_requests_at_once_are_read_a_few_at_a_time() {
        let mut burst = Burst::default();
        burst.on_read(calls(0), 2_000);
        assert_eq!(
            (burst.limit(calls(MANY_CALLS)), burst.limit(calls(MANY_CALLS + 1))),
            (LONG_READING_BYTES, SHORT_READING_BYTES)
        );
        burst.on_read(calls(60), 500);
        burst.on_read(calls(62), 500);
        assert_eq!(burst.limit(calls(64)), SHORT_READING_BYTES, "two calls at once");
        for call in 64..=64 + CALM_READINGS as usize {
            assert_eq!(burst.limit(calls(call)), SHORT_READING_BYTES);
            burst.on_read(calls(call), 200);
        }
        assert_eq!(burst.limit(calls(69)), LONG_READING_BYTES, "one call after the other");
    }

    #[test]
    fn what_is_neither_a_call_nor_a_message_is_read_a_little_at_a_time() {
        let mut burst = Burst::default();
        let mut read = 0;
        while burst.limit(calls(1)) == LONG_READING_BYTES {
            burst.on_read(calls(1), 17 * 100);
            read += 17 * 100;
            assert!(read < 3 * MUCH_OVERHEAD_BYTES, "pings are read without an end");
        }
        // Calls that come with fewer bytes beside them end it.
        for call in 2..200 {
            burst.on_read(calls(call), 300);
        }
        assert_eq!(burst.limit(calls(200)), LONG_READING_BYTES);
    }

    #[test]
    fn short_messages_of_a_session_are_no_burst() {
        let mut burst = Burst::default();
        for message in 0..100_000 {
            let received = Received { calls: 1, message_bytes: 20 * message };
            assert_eq!(burst.limit(received), LONG_READING_BYTES, "message {message}");
            // The head of the frame, a ping, and a window update now and then.
            burst.on_read(received, 20 + 9 + 17);
            burst.rested();
        }
    }

    #[test]
    fn long_messages_rest_now_and_then() {
        let (mut burst, mut rests) = (Burst::default(), 0);
        for reading in 0..4 * LONG_MESSAGES_BYTES / LONG_READING_BYTES {
            let received = Received { calls: 1, message_bytes: reading * LONG_READING_BYTES };
            if burst.is_burst(received) {
                burst.rested();
                rests += 1;
            }
            assert_eq!(burst.limit(received), LONG_READING_BYTES);
            burst.on_read(received, LONG_READING_BYTES);
        }
        assert_eq!(rests, 3);
    }
}
