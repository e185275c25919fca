//! What the operating system tells a daemon by signals.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT (Ctrl-C): to end.
    Stop,
    /// SIGHUP: to read the policy again.
    Reload,
}

/// SIGTERM, SIGINT and SIGHUP, from now on.
#[cfg(unix)]
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hang_up: Source,
}

#[cfg(unix)]
impl Signals {
    /// Listens to them.
    ///
    /// # Errors
    /// If the system does not deliver signals to this process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}
