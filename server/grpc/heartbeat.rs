//! The times of a stream's heartbeats during silence.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// The silence of one stream. Its timer restarts when it fires and not at each message, which would cost more than the
/// message.
pub(super) struct Heartbeat {
    interval: Duration,
    last_message: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Heartbeat {
    /// Creates the heartbeat of a stream that begins now and may be silent for `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last_message: Instant::now(), timer: Box::pin(sleep(interval)) }
    }

    /// Returns the stream's next message, or `None` after silence: a heartbeat is due. `next` is dropped then, so it
    /// must be cancel-safe.
    pub(super) async fn next_or_silence<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let next = tokio::select! {
            biased;
            next = next => Some(next),
            () = self.due() => None,
        };
        self.last_message = Instant::now();
        next
    }

    async fn due(&mut self) {
        loop {
            self.timer.as_mut().await;
            let due = self.last_message + self.interval;
            let is_due = due <= Instant::now();
            self.timer.as_mut().reset(if is_due { Instant::now() + self.interval } else { due });
            if is_due {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_is_due_only_after_silence() {
        let mut heartbeat = Heartbeat::new(30 * SECOND);
        for _ in 0..3 {
            assert_eq!(heartbeat.next_or_silence(sleep(20 * SECOND)).await, Some(()));
        }
        assert_eq!(heartbeat.next_or_silence(sleep(29 * SECOND)).await, Some(()), "silence begins anew");
        for _ in 0..2 {
            let silent_since = Instant::now();
            assert_eq!(heartbeat.next_or_silence(pending::<()>()).await, None);
            assert!((30 * SECOND..31 * SECOND).contains(&silent_since.elapsed()), "{:?}", silent_since.elapsed());
        }
        sleep(40 * SECOND).await;
        assert_eq!(heartbeat.next_or_silence(ready(())).await, Some(()), "a message comes before a heartbeat");
    }
}
