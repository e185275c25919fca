//! When a stream that has nothing to say sends a heartbeat.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// The silence of one stream. Its timer is begun anew when it fires and not at each message, which would cost more than the message.
pub(super) struct Heartbeat {
    interval: Duration,
    last_message: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Heartbeat {
    /// A stream that begins now and may be silent for `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last_message: Instant::now(), timer: Box::pin(sleep(interval)) }
    }

    /// Notes that the stream has sent a message.
    pub(super) fn on_message(&mut self) {
        self.last_message = Instant::now();
    }

    /// Waits until the stream has been silent for long enough. Cancel-safe.
    pub(super) async fn due(&mut self) {
        loop {
            self.timer.as_mut().await;
            let due = self.last_message + self.interval;
            if due <= Instant::now() {
                self.on_message();
                self.timer.as_mut().reset(self.last_message + self.interval);
                return;
            }
            self.timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_is_due_after_silence_alone() {
        let mut heartbeat = Heartbeat::new(30 * SECOND);
        for _ in 0..3 {
            advance(20 * SECOND).await;
            heartbeat.on_message();
        }
        assert!(timeout(29 * SECOND, heartbeat.due()).await.is_err());
        assert!(timeout(2 * SECOND, heartbeat.due()).await.is_ok());
        assert!(timeout(29 * SECOND, heartbeat.due()).await.is_err(), "it is a message itself");
        assert!(timeout(2 * SECOND, heartbeat.due()).await.is_ok());
    }
}
