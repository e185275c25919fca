//! A flag that ends waits in other threads.

use tokio::sync::watch;

/// Set once, by any thread.
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Sets the flag. Allowed in any thread, and never waits.
    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns the future's output, or `None` as soon as the flag is set.
    pub(crate) async fn unless<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut flag = self.0.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            _ = flag.wait_for(|is_set| *is_set) => None,
            output = future => Some(output),
        }
    }
}
