//! The service control manager of Windows. Messages are lines of this module's own; they become states of the service.

use std::{io, time::Duration};

use crate::process::windows_service::{Event, Service, current};

const READY: &str = "ready";
const STOPPING: &str = "stopping";
/// The beginning of a line that ends with the time in milliseconds.
const NEEDS_TIME: &str = "needs-time ";

/// The connection to the manager.
#[derive(Debug)]
pub(super) struct Socket(&'static Service);

impl Socket {
    /// Tells the manager what the lines say. Does not wait.
    pub(super) async fn send(&self, message: &[u8]) -> io::Result<usize> {
        for event in String::from_utf8_lossy(message).lines().filter_map(event) {
            self.0.tell(event)?;
        }
        Ok(message.len())
    }
}

fn event(line: &str) -> Option<Event> {
    match line {
        READY => Some(Event::Ready),
        STOPPING => Some(Event::Stopping),
        line => Some(Event::NeedsTime(Duration::from_millis(line.strip_prefix(NEEDS_TIME)?.parse().ok()?))),
    }
}

/// Connects if this process is the service.
pub(super) fn connect() -> io::Result<Option<Socket>> {
    Ok(current().map(Socket))
}

/// The manager has no watchdog.
pub(super) fn watchdog() -> Option<Duration> {
    None
}

pub(super) fn ready() -> String {
    format!("{READY}\n")
}

/// The manager has no state of a reload.
pub(super) fn reloading() -> String {
    String::new()
}

pub(super) fn stopping() -> String {
    format!("{STOPPING}\n")
}

pub(super) fn extension(time: Duration) -> String {
    format!("{NEEDS_TIME}{}\n", time.as_millis())
}

pub(super) fn ping() -> String {
    String::new()
}

/// The manager has no status line.
pub(super) fn status(_line: &str) -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_becomes_its_event() {
        let events = |text: String| text.lines().map(event).collect::<Vec<_>>();
        assert_eq!(events(ready()), [Some(Event::Ready)]);
        let time = Duration::from_secs(15);
        assert_eq!(events(stopping() + &extension(time)), [Some(Event::Stopping), Some(Event::NeedsTime(time))]);
        assert_eq!(events(status("ready") + &reloading() + &ping()), []);
        assert_eq!(event("needs-time x"), None);
    }
}
