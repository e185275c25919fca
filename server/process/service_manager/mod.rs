//! The service manager (systemd, `Type=notify`, or on Windows the service control manager): learns when the broker
//! serves, reloads and stops, and gets pings of its watchdog from the runtime of the actors. A card thread that hangs
//! in a driver delays no ping.
//!
//! States are kept until they are sent, and sent again if that fails; pings are not, because the next one says more.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "other.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
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

/// The state shared with the sending task.
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
    /// Connects to the service manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), or that has
    /// started this process as a service of Windows, if there is one, and begins with the pings. Call it inside the
    /// runtime of the actors, whose answers the pings prove.
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
mod tests;
