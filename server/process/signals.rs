//! The signals that stop the daemon or reload its policy.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// The request behind a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT (Ctrl-C): stop the daemon.
    Stop,
    /// SIGHUP: read configuration and tokens again.
    Reload,
}

/// The receiver of SIGTERM, SIGINT and SIGHUP.
#[cfg(unix)]
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hang_up: Source,
}

#[cfg(unix)]
impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// The system does not deliver signals to this process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
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
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}
