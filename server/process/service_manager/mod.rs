//! The service manager (systemd, `Type=notify`): learns when the broker serves, reloads and stops, and gets pings of
//! its watchdog from the runtime of the actors. A card thread that hangs in a driver delays no ping.
//!
//! States are kept until they are sent, and sent again if that fails; pings are not, because the next one says more.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(not(target_os = "linux"))]
#[path = "other.rs"]
mod os;
mod pending;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::pending::Pending;

/// How long one message may take, and all that wait at the end of the process.
const SEND_TIME: Duration = Duration::from_secs(1);

/// The pause after a message that could not be sent.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The time that a stop asks for, and how often: `shutdown.grace` may be longer than the service manager's patience. A
/// broker that hangs asks no more.
const EXTENSION: Duration = Duration::from_secs(15);
const EXTENSION_INTERVAL: Duration = Duration::from_secs(5);

/// The maximum characters of the status line.
const MAX_STATUS_LENGTH: usize = 512;

/// The connection to the service manager, or none. Owned by the server.
#[derive(Debug, Default)]
pub struct ServiceManager(Option<Messages>);

/// The messages to a service manager, and the task that sends them.
#[derive(Debug)]
struct Messages {
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
    /// The status line that was told last.
    status: String,
}

/// What the task that sends has to know.
#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the task after a change of the above.
    changed: Notify,
    /// Whether the broker stops, and needs time for it.
    stopping: CancellationToken,
    /// Whether nothing more will be told.
    finished: CancellationToken,
}

impl Shared {
    /// The pending messages. Each change is complete before the next, so a panic elsewhere does no harm.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceManager {
    /// Connects to the service manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), if there is one,
    /// and begins with the pings. Call it inside the runtime of the actors, whose answers the pings prove.
    pub fn connect() -> Self {
        match os::connect() {
            Ok(Some(socket)) => Self::of(socket, os::watchdog()),
            Ok(None) => Self::default(),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be notified (NOTIFY_SOCKET)");
                Self::default()
            }
        }
    }

    fn of(socket: os::Socket, watchdog: Option<Duration>) -> Self {
        let shared = Arc::new(Shared::default());
        let task = AbortOnDropHandle::new(tokio::spawn(send_all(socket, Arc::clone(&shared), watchdog)));
        Self(Some(Messages { shared, task, status: String::new() }))
    }

    /// Whether there is a service manager: if not, nobody reads the status line.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// Tells that requests are accepted, also again after a reload, and the status line.
    pub fn ready(&mut self, status: &str) {
        self.tell(Some(status), |pending, status| pending.ready(os::ready(), status));
    }

    /// Tells that the configuration is being read again. [`ServiceManager::ready`] must follow.
    pub fn reloading(&mut self) {
        self.tell(None, |pending, _| pending.reloading(os::reloading()));
    }

    /// Tells that the broker accepts no new work, and asks for time until [`ServiceManager::finish`].
    pub fn stopping(&mut self) {
        let state = os::stopping() + &os::extension(EXTENSION);
        self.tell(Some("stopping"), |pending, status| pending.stopping(state, status));
        if let Some(messages) = &self.0 {
            messages.shared.stopping.cancel();
        }
    }

    /// Tells the status line, unless it is the last one.
    pub fn status(&mut self, status: &str) {
        if self.0.as_ref().is_some_and(|messages| messages.status != status) {
            self.tell(Some(status), Pending::status);
        }
    }

    fn tell(&mut self, status: Option<&str>, tell: impl FnOnce(&mut Pending, String)) {
        let Some(messages) = &mut self.0 else { return };
        let line = status.map(|status| os::status(&one_line(status))).unwrap_or_default();
        if let Some(status) = status {
            status.clone_into(&mut messages.status);
        }
        tell(&mut messages.shared.pending(), line);
        messages.shared.changed.notify_one();
    }

    /// Sends the messages that wait, for a short time at most.
    pub async fn finish(self) {
        if let Some(Messages { shared, task, .. }) = self.0 {
            shared.finished.cancel();
            let _ = timeout(SEND_TIME, task).await;
        }
    }
}

/// The text without line breaks, which would begin another assignment, and not too long.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_STATUS_LENGTH).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Sends what is pending, with pings in between if there is a watchdog, and asks for time during a stop. Ends when all
/// is sent and nothing more will be told.
async fn send_all(socket: os::Socket, shared: Arc<Shared>, watchdog: Option<Duration>) {
    let mut line = Line { socket, has_failed: false };
    let mut pings = watchdog.map(|watchdog| every((watchdog / 2).max(Duration::from_millis(1))));
    let mut extensions = None;
    loop {
        let pending = shared.pending().next();
        if let Some(message) = pending {
            if line.send(&message.text()).await {
                shared.pending().on_sent(&message);
            }
            continue;
        }
        if shared.finished.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            () = shared.finished.cancelled() => {}
            () = shared.stopping.cancelled(), if extensions.is_none() => extensions = Some(every(EXTENSION_INTERVAL)),
            () = next(&mut extensions) => {
                line.send(&os::extension(EXTENSION)).await;
            }
            () = next(&mut pings) => {
                line.send(&os::ping()).await;
            }
        }
    }
}

/// The socket, and whether the last message was lost.
struct Line {
    socket: os::Socket,
    has_failed: bool,
}

impl Line {
    /// Sends a message; `false` if that fails, after a second at the earliest. Connects again after an error, because
    /// the service manager may have made its socket anew.
    async fn send(&mut self, message: &str) -> bool {
        let problem = match timeout(SEND_TIME, self.socket.send(message.as_bytes())).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                sleep(RETRY_PAUSE).await;
                self.connect_again();
                Some(error.to_string())
            }
            Err(_) => Some("it does not read its messages".to_owned()),
        };
        if let Some(problem) = &problem
            && !self.has_failed
        {
            tracing::warn!(problem, "the service manager cannot be notified");
        }
        self.has_failed = problem.is_some();
        !self.has_failed
    }

    fn connect_again(&mut self) {
        let again: io::Result<_> = os::connect();
        if let Ok(Some(socket)) = again {
            self.socket = socket;
        }
    }
}

/// Times at this distance, the first at once.
fn every(distance: Duration) -> Interval {
    let mut times = interval(distance);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

/// Waits for the next of these times; for ever if there are none.
async fn next(times: &mut Option<Interval>) {
    match times {
        Some(times) => _ = times.tick().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::net::UnixDatagram;

    use super::*;

    /// How a stop asks for time.
    const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=15000000\n";

    async fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1_024];
        let length = timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await.unwrap().unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn manager(watchdog: Option<Duration>) -> (ServiceManager, UnixDatagram) {
        let (here, there) = UnixDatagram::pair().unwrap();
        (ServiceManager::of(here, watchdog), there)
    }

    #[tokio::test]
    async fn each_state_is_one_message_and_a_status_is_one_line() {
        let (mut manager, socket) = manager(None);
        manager.ready("2 readers");
        assert_eq!(received(&socket).await, "READY=1\nSTATUS=2 readers\n");
        manager.status("2 readers");
        manager.status("3\nreaders");
        assert_eq!(received(&socket).await, "STATUS=3 readers\n");
        manager.reloading();
        let reloading = received(&socket).await;
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
        manager.stopping();
        manager.finish().await;
        assert_eq!(received(&socket).await, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
    }

    /// Fills the buffer of a service manager that reads nothing, by pings.
    async fn fill(socket: &UnixDatagram) -> usize {
        let mut sent = 0;
        while socket.try_send(b"WATCHDOG=1\n").is_ok() {
            sent += 1;
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_waits_for_a_service_manager_that_reads_late() {
        for reload in [false, true] {
            let (here, there) = UnixDatagram::pair().unwrap();
            let filled = fill(&here).await;
            let mut manager = ServiceManager::of(here, Some(Duration::from_millis(100)));
            manager.ready("0 readers");
            if reload {
                manager.reloading();
                manager.ready("0 readers");
            }
            for number in 1..=1_000 {
                manager.status(&format!("{number} readers"));
                tokio::task::yield_now().await;
            }
            // Many times the time of one message.
            sleep(Duration::from_secs(60)).await;
            for _ in 0..filled {
                assert_eq!(received(&there).await, "WATCHDOG=1\n");
            }
            let mut states = Vec::new();
            for _ in 0..20 {
                states.push(received(&there).await);
            }
            states.retain(|message| message != "WATCHDOG=1\n");
            assert_eq!(states.pop().unwrap_or_default(), "READY=1\nSTATUS=1000 readers\n");
            assert_eq!(states.len(), usize::from(reload), "{states:?}");
            assert!(states.iter().all(|state| state.starts_with("RELOADING=1\n")), "{states:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_asks_for_time_until_it_ends() {
        let (mut manager, socket) = manager(None);
        manager.ready("0 readers");
        manager.stopping();
        assert_eq!(received(&socket).await, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
        let begin = tokio::time::Instant::now();
        // The first one comes at once, too.
        for _ in 0..121 {
            assert_eq!(received(&socket).await, MORE_TIME);
        }
        let took = begin.elapsed();
        assert!((Duration::from_secs(600)..Duration::from_secs(610)).contains(&took), "{took:?}");
        manager.finish().await;
        assert!(socket.try_recv(&mut [0]).is_err(), "it asks no more");
    }

    #[tokio::test]
    async fn the_watchdog_is_pinged_twice_in_its_time() {
        let (_manager, socket) = manager(Some(Duration::from_millis(100)));
        let begin = std::time::Instant::now();
        for _ in 0..4 {
            assert_eq!(received(&socket).await, "WATCHDOG=1\n");
        }
        assert!(begin.elapsed() >= Duration::from_millis(140), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_service_manager_that_reads_nothing_delays_nobody() {
        let (mut manager, _socket) = manager(None);
        let begin = std::time::Instant::now();
        for number in 0..10_000 {
            manager.status(&number.to_string());
        }
        manager.finish().await;
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}
