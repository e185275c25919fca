//! The accept loop: takes clients in as long as there is room, and waits where tonic's own would spin.

use std::{
    convert::Infallible,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Connection, os};
use crate::config::ListenConfig;

/// The pause after a failed accept (out of file descriptors, mostly), doubled up to the longest while it goes on.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The connections of the clients, as they come. Ends at the shutdown; dropping it ends the listening, too.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<Connection>,
    count: ConnectionCount,
}

impl Incoming {
    /// Starts to accept, until `shutdown`.
    ///
    /// Beyond `max_connections` clients are not turned away: they wait, the first one accepted, the others in the system's
    /// backlog, and get the next place that is free. A short rush then costs them time and not an error.
    pub(super) fn start(listener: os::Listener, config: &ListenConfig, shutdown: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(config.max_connections));
        let count = ConnectionCount { places, max: config.max_connections };
        let (sender, accepted) = mpsc::channel(1);
        let acceptor =
            Acceptor { listener, count: count.clone(), first_request_timeout: config.first_request_timeout, sender };
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = acceptor.sender.closed() => {}
                () = acceptor.run() => {}
            }
        });
        Self { accepted, count }
    }

    /// The number of open connections, now and later.
    pub fn count(&self) -> ConnectionCount {
        self.count.clone()
    }
}

impl Stream for Incoming {
    type Item = Result<Connection, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

/// How many connections are open. Clones look at the same listener.
#[derive(Debug, Clone)]
pub struct ConnectionCount {
    places: Arc<Semaphore>,
    max: usize,
}

impl ConnectionCount {
    /// Those being served, at most `max_connections`.
    pub fn open(&self) -> usize {
        self.max - self.places.available_permits()
    }
}

/// The right to be served, given back when it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

struct Acceptor {
    listener: os::Listener,
    count: ConnectionCount,
    first_request_timeout: Duration,
    sender: mpsc::Sender<Connection>,
}

impl Acceptor {
    async fn run(&self) {
        let mut crowded = false;
        for number in 1.. {
            let (stream, caller) = persist(|| self.listener.accept(number)).await;
            let Some(place) = self.place(&mut crowded).await else { return };
            tracing::debug!(%caller, connection = number, "connected");
            let connection = Connection::new(stream, caller, self.first_request_timeout, place);
            if self.sender.send(connection).await.is_err() {
                return;
            }
        }
    }

    /// A place for one connection. `crowded` says whether the last one had to wait for its place, so that a rush is told once.
    async fn place(&self, crowded: &mut bool) -> Option<Place> {
        let places = self.count.places.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            *crowded = false;
            return Some(place);
        }
        if !mem::replace(crowded, true) {
            let max = self.count.max;
            tracing::warn!(max, "all connections are in use: further clients wait (listen.max_connections)");
        }
        places.acquire_owned().await.ok()
    }
}

/// Tries until it works, with pauses between, and warns once per burst of errors.
async fn persist<T, F: Future<Output = io::Result<T>>>(mut accept: impl FnMut() -> F) -> T {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if pause == SHORTEST_PAUSE => {
                tracing::warn!(%error, "cannot accept clients for now; if files ran out, raise the limit (ulimit -n)");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_pauses_longer_and_longer_while_files_have_run_out() {
        let begin = Instant::now();
        let mut tries = Vec::new();
        persist(|| {
            tries.push(begin.elapsed().as_millis());
            ready(if tries.len() < 9 { Err(io::Error::other("too many open files")) } else { Ok(()) })
        })
        .await;
        assert_eq!(tries, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
    }
}
