//! The accept loop: accepts clients while connection slots are free. After an error it pauses, where tonic's own loop
//! spins.

use std::{
    convert::Infallible,
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cardbroker_core::budget::Tokens;
use cardbroker_local::words::HERE;
use futures_core::Stream;
use tokio::sync::{Notify, mpsc};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    budgets::{Account, Budgets},
    connection::{ByteStream, Connection},
    occupancy::{ConnectionCount, ConnectionSlot, Occupancy},
    os,
    peer::Source,
    slots::{ConnectionSlots, ConnectionStatus, Ruling},
    tcp,
};
use crate::config::ListenConfig;

/// The first pause after a failed accept (usually out of file descriptors), doubled up to the longest while errors
/// continue.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause before the next TCP client while the budget of those without a valid token is empty, so that handshakes
/// leave time for others. The system keeps at most 128 clients waiting: 3.2 s, and clients wait for 5 s.
const ACCEPT_PAUSE: Duration = Duration::from_millis(25);

/// The shortest time between two lines of the log about connections without a slot.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The stream of accepted connections. Ends at the shutdown; dropping it also ends the listening.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<Connection>,
    numbers: ConnectionNumbers,
    count: ConnectionCount,
    budgets: Budgets,
}

impl Incoming {
    /// Starts to accept on all of `listeners`, until `shutdown`.
    ///
    /// Clients beyond `max_connections` wait for the next free slot, the first one accepted, the others in the system's
    /// backlog, so a short burst causes a delay and not an error. Clients beyond `max_connections_per_user`, or in the
    /// last eighth with more than next to no connections, are refused, so that no client of another user waits behind
    /// them.
    pub(super) fn start(
        listeners: impl IntoIterator<Item = Listener>,
        config: &ListenConfig,
        shutdown: CancellationToken,
    ) -> Self {
        let slots = ConnectionSlots::new(config.max_connections, config.max_connections_per_user());
        let count = ConnectionCount(Arc::new(Occupancy { slots: Mutex::new(slots), freed: Notify::new() }));
        let numbers = ConnectionNumbers::default();
        let budgets = Budgets::default();
        let (sender, accepted) = mpsc::channel(1);
        for listener in listeners {
            let acceptor = Acceptor {
                listener,
                numbers: numbers.clone(),
                count: count.clone(),
                budgets: budgets.clone(),
                first_request_timeout: config.first_request_timeout,
                sender: sender.clone(),
            };
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = acceptor.sender.closed() => {}
                    () = acceptor.run() => {}
                }
            });
        }
        Self { accepted, numbers, count, budgets }
    }

    /// The number of refused requests that came while their user's budget was used up, now and later.
    pub fn over_budget(&self) -> impl Fn() -> u64 + Clone + Send + Sync + use<> {
        let budgets = self.budgets.clone();
        move || budgets.over_budget()
    }

    /// The budgets for refused requests, for the other sockets of the broker.
    pub(super) fn budgets(&self) -> Budgets {
        self.budgets.clone()
    }

    /// The numbers of connections, for the other sockets of the broker.
    pub(super) fn numbers(&self) -> ConnectionNumbers {
        self.numbers.clone()
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

/// The numbers of connections, counted from 1. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionNumbers(Arc<AtomicU64>);

impl ConnectionNumbers {
    /// The number of a new connection.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A socket that accepts clients.
#[derive(Debug)]
pub(super) enum Listener {
    Local(os::Listener),
    Tcp(tcp::Listener),
}

impl Listener {
    /// Accepts the next client. Its connection gets the next of `numbers`.
    async fn accept(&self, numbers: &ConnectionNumbers) -> io::Result<(ByteStream, Source)> {
        let next = || numbers.next();
        match self {
            Self::Local(listener) => {
                let (stream, caller) = listener.accept(next).await?;
                let (connection, executable) = (caller.connection, caller.executable.as_deref());
                tracing::debug!(%caller, connection, executable = executable.map(tracing::field::debug), "connected");
                Ok((Either::Left(stream), Source::Local(caller)))
            }
            Self::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                let connection = next();
                tracing::debug!(%client, connection, "connected");
                Ok((Either::Right(stream), Source::Tcp { connection, client, server: listener.address() }))
            }
        }
    }
}

struct Acceptor {
    listener: Listener,
    /// The next connection number, shared by all listeners.
    numbers: ConnectionNumbers,
    count: ConnectionCount,
    budgets: Budgets,
    first_request_timeout: Duration,
    sender: mpsc::Sender<Connection>,
}

impl Acceptor {
    async fn run(&self) {
        let mut crowded = Crowded::default();
        loop {
            if matches!(self.listener, Listener::Tcp(_)) && self.budgets.tokens(&Account::WithoutToken) == Tokens::Empty
            {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            let (stream, source) = persist(|| self.listener.accept(&self.numbers)).await;
            let Some(place) = self.place(&source, &mut crowded).await else { continue };
            let connection = Connection::new(stream, source, self.first_request_timeout, place, self.budgets.clone());
            if self.sender.send(connection).await.is_err() {
                return;
            }
        }
    }

    /// Waits for a slot for one connection; `None` if it is refused. `crowded` is that of the connections before.
    async fn place(&self, source: &Source, crowded: &mut Crowded) -> Option<ConnectionSlot> {
        let occupancy = &self.count.0;
        let (number, user) = (source.connection(), source.principal());
        let status = ConnectionStatus::default();
        loop {
            let freed = occupancy.freed.notified();
            match occupancy.slots().enter(number, &user, &status) {
                Ruling::Enter => {
                    crowded.is_now = false;
                    return Some(ConnectionSlot { occupancy: Arc::clone(occupancy), number, status });
                }
                Ruling::Refuse(too_many) => {
                    if crowded.should_log(Instant::now()) {
                        tracing::warn!(%source, "further connections of its user are closed: {too_many}");
                    }
                    return None;
                }
                Ruling::Wait { soon: true } => {}
                Ruling::Wait { soon: false } => {
                    if crowded.should_log(Instant::now()) {
                        tracing::warn!("all connections are in use: further clients wait (listen.max_connections)");
                    }
                }
            }
            freed.await;
        }
    }
}

/// Whether the last connection found no slot. A burst of them is logged once, and a client that makes one burst after
/// the other cannot flood the log.
#[derive(Default)]
struct Crowded {
    is_now: bool,
    logged_at: Option<Instant>,
}

impl Crowded {
    /// Records a connection without a slot. Returns whether to log it.
    fn should_log(&mut self, now: Instant) -> bool {
        let is_new = !mem::replace(&mut self.is_now, true);
        let is_due = is_new && self.logged_at.is_none_or(|last| last + LOG_INTERVAL <= now);
        if is_due {
            self.logged_at = Some(now);
        }
        is_due
    }
}

/// Retries until `accept` succeeds, with pauses between, and warns once per burst of errors.
pub(super) async fn persist<T, F: Future<Output = io::Result<T>>>(mut accept: impl FnMut() -> F) -> T {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if pause == SHORTEST_PAUSE => {
                let more = HERE.more_files;
                tracing::warn!(%error, "cannot accept clients for now; if files ran out, {more}");
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

    use super::*;

    #[test]
    fn a_burst_is_logged_once_and_bursts_at_most_every_ten_seconds() {
        let (mut crowded, start) = (Crowded::default(), Instant::now());
        assert_eq!([crowded.should_log(start), crowded.should_log(start + LOG_INTERVAL)], [true, false]);
        let mut logged = 0;
        for millisecond in 0..100_000 {
            crowded.is_now = false;
            logged += u32::from(crowded.should_log(start + LOG_INTERVAL + Duration::from_millis(millisecond)));
        }
        assert_eq!(logged, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_while_accepting_fails() {
        let begin = tokio::time::Instant::now();
        let mut tries = Vec::new();
        persist(|| {
            tries.push(begin.elapsed().as_millis());
            ready(if tries.len() < 9 { Err(io::Error::other("too many open files")) } else { Ok(()) })
        })
        .await;
        assert_eq!(tries, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
    }
}
