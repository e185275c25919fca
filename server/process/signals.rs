//! The signals that stop the daemon or reload its policy.

#[cfg(unix)]
use std::fs::{self, File};
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// The request behind a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT (Ctrl-C), or SIGHUP because the terminal of the daemon was closed: stop the daemon.
    Stop,
    /// SIGHUP while the terminal is there, or never was: read configuration and tokens again.
    Reload,
}

/// The receiver of SIGTERM, SIGINT and SIGHUP.
#[cfg(unix)]
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hang_up: Source,
    /// Whether the daemon ends with its terminal. Not without one, and not if the parent has ignored SIGHUP (`nohup`).
    ends_with_terminal: bool,
}

#[cfg(unix)]
impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// The system does not deliver signals to this process.
    pub fn listen() -> io::Result<Self> {
        // Read first: the handler replaces what the parent has set.
        let ends_with_terminal = has_terminal() && !ignores_hang_up();
        Ok(Self {
            ends_with_terminal,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => match self.ends_with_terminal && !has_terminal() {
                true => Signal::Stop,
                false => Signal::Reload,
            },
        }
    }
}

/// Whether the process has a controlling terminal. It has none any more once that was closed.
#[cfg(unix)]
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP is ignored; without `/proc` that counts as no.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
