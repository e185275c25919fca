//! The service manager (systemd, `Type=notify`): learns when the broker serves, reloads and stops, and gets pings of
//! its watchdog from the runtime of the actors. A card thread that hangs in a driver delays no ping.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod os;
#[cfg(not(target_os = "linux"))]
#[path = "other.rs"]
mod os;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

/// The messages that may wait for a slow service manager. Further ones are dropped: each replaces the one before.
const MAX_WAITING: usize = 16;

/// How long one message may take, and all that wait at the end of the process.
const SEND_TIME: Duration = Duration::from_secs(1);

/// The maximum characters of the status line.
const MAX_STATUS_LENGTH: usize = 512;

/// The connection to the service manager, or none. Owned by the server.
#[derive(Debug, Default)]
pub struct ServiceManager(Option<Messages>);

/// The messages to a service manager, and the task that sends them.
#[derive(Debug)]
struct Messages {
    sender: mpsc::Sender<String>,
    task: JoinHandle<()>,
    /// The status line that was told last.
    status: String,
}

impl ServiceManager {
    /// Connects to the service manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), if there is one,
    /// and begins with the pings. Call it inside the runtime of the actors, whose answers the pings prove.
    pub fn connect() -> Self {
        let socket = match os::connect() {
            Ok(Some(socket)) => socket,
            Ok(None) => return Self::default(),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be notified (NOTIFY_SOCKET)");
                return Self::default();
            }
        };
        let (sender, messages) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(send_all(socket, messages, os::watchdog()));
        Self(Some(Messages { sender, task, status: String::new() }))
    }

    /// Whether there is a service manager: if not, nobody reads the status line.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// Tells that requests are accepted, also again after a reload, and the status line.
    pub fn ready(&mut self, status: &str) {
        self.tell(os::ready(), Some(status));
    }

    /// Tells that the configuration is being read again. [`ServiceManager::ready`] must follow.
    pub fn reloading(&mut self) {
        self.tell(os::reloading(), None);
    }

    /// Tells that the broker accepts no new work.
    pub fn stopping(&mut self) {
        self.tell(os::stopping(), Some("stopping"));
    }

    /// Tells the status line, unless it is the last one.
    pub fn status(&mut self, status: &str) {
        if self.0.as_ref().is_some_and(|messages| messages.status != status) {
            self.tell(String::new(), Some(status));
        }
    }

    fn tell(&mut self, mut message: String, status: Option<&str>) {
        let Some(messages) = &mut self.0 else { return };
        if let Some(status) = status {
            status.clone_into(&mut messages.status);
            message += &os::status(&one_line(status));
        }
        // A service manager that has read none of the last messages learns nothing from this one.
        let _ = messages.sender.try_send(message);
    }

    /// Sends the messages that wait, for a short time at most.
    pub async fn finish(self) {
        if let Some(Messages { sender, task, .. }) = self.0 {
            drop(sender);
            let _ = timeout(SEND_TIME, task).await;
        }
    }
}

/// The text without line breaks, which would begin another assignment, and not too long.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_STATUS_LENGTH).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Sends all messages, and pings in between if there is a watchdog. Ends with the messages.
async fn send_all(socket: os::Socket, mut messages: mpsc::Receiver<String>, watchdog: Option<Duration>) {
    let mut pings = watchdog.map(pings);
    let mut has_failed = false;
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => message,
                None => return,
            },
            () = next(&mut pings) => os::ping(),
        };
        let problem = match timeout(SEND_TIME, socket.send(message.as_bytes())).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not read its messages".to_owned()),
        };
        if let Some(problem) = &problem
            && !has_failed
        {
            tracing::warn!(problem, "the service manager cannot be notified");
        }
        has_failed = problem.is_some();
    }
}

/// The times of pings: twice in the time of the watchdog.
fn pings(watchdog: Duration) -> Interval {
    let mut pings = interval((watchdog / 2).max(Duration::from_millis(1)));
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

/// Waits for the next ping; for ever without a watchdog.
async fn next(pings: &mut Option<Interval>) {
    match pings {
        Some(pings) => _ = pings.tick().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::net::UnixDatagram;

    use super::*;

    async fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1_024];
        let length = timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await.unwrap().unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn manager(watchdog: Option<Duration>) -> (ServiceManager, UnixDatagram) {
        let (here, there) = UnixDatagram::pair().unwrap();
        let (sender, messages) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(send_all(here, messages, watchdog));
        (ServiceManager(Some(Messages { sender, task, status: String::new() })), there)
    }

    #[tokio::test]
    async fn each_state_is_one_message_and_a_status_is_one_line() {
        let (mut manager, socket) = manager(None);
        manager.ready("2 readers");
        manager.status("2 readers");
        manager.status("3\nreaders");
        manager.reloading();
        manager.stopping();
        manager.finish().await;
        assert_eq!(received(&socket).await, "READY=1\nSTATUS=2 readers\n");
        assert_eq!(received(&socket).await, "STATUS=3 readers\n");
        let reloading = received(&socket).await;
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(received(&socket).await, "STOPPING=1\nSTATUS=stopping\n");
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
