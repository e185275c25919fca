//! Requests for a reload, from operators to the server: a bounded number, each answered once.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::ReloadOutcome;

/// The most requests that wait.
const MAX_WAITING: usize = 16;

/// The longest wait for the end of a reading, shorter than the clients' time for a call.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Where a request expects its answer.
pub type ReloadReply = oneshot::Sender<ReloadOutcome>;

/// The requests, as the server receives them; dropped when it reloads no more.
pub type ReloadRequests = mpsc::Receiver<ReloadReply>;

/// Asks the server for reloads. Clones share the bound on waiting requests.
#[derive(Debug, Clone)]
pub struct ReloadAsker {
    requests: mpsc::Sender<ReloadReply>,
    places: Arc<Semaphore>,
}

/// Why a request for a reload has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// Too many requests wait for a reading already.
    Full,
    /// The reading takes too long; it goes on.
    Slow,
    /// The server stops and reads nothing any more.
    Stopping,
}

impl ReloadAsker {
    /// Creates an asker, and the end at which the server receives its requests.
    pub fn new() -> (Self, ReloadRequests) {
        let (requests, received) = mpsc::channel(MAX_WAITING);
        (Self { requests, places: Arc::new(Semaphore::new(MAX_WAITING)) }, received)
    }

    /// Asks for a reload, and waits for the end of a reading that begins after this call.
    ///
    /// # Errors
    /// [`Unanswered`]; a reload may take place all the same, unless too many requests wait.
    pub async fn ask(&self) -> Result<ReloadOutcome, Unanswered> {
        let _place = self.places.try_acquire().map_err(|_| Unanswered::Full)?;
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(reply).map_err(|problem| match problem {
            mpsc::error::TrySendError::Full(_) => Unanswered::Full,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })?;
        match timeout(LONGEST_WAIT, answer).await {
            Ok(answered) => answered.map_err(|_| Unanswered::Stopping),
            Err(_) => Err(Unanswered::Slow),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_bounded_number_and_time() {
        let (asker, mut requests) = ReloadAsker::new();
        let mut asking = JoinSet::new();
        for _ in 0..=MAX_WAITING {
            let asker = asker.clone();
            asking.spawn(async move { asker.ask().await });
        }
        assert_eq!(asking.join_next().await.unwrap().unwrap(), Err(Unanswered::Full));
        requests.recv().await.unwrap().send(Ok(Vec::new())).unwrap();
        assert_eq!(asking.join_next().await.unwrap().unwrap(), Ok(Ok(Vec::new())));
        assert_eq!(asking.join_next().await.unwrap().unwrap(), Err(Unanswered::Slow));
        drop(requests);
        while let Some(ended) = asking.join_next().await {
            assert_ne!(ended.unwrap(), Err(Unanswered::Full));
        }
        assert_eq!(asker.ask().await, Err(Unanswered::Stopping));
    }
}
