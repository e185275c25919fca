//! SIGTERM, SIGINT and SIGHUP, and the meaning of SIGHUP.

use std::{
    fs::{self, File},
    io,
    process::{Command, Stdio},
};

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

use super::Signal;

/// The receiver of SIGTERM, SIGINT and SIGHUP.
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hang_up: Source,
    terminal: Terminal,
}

/// The terminal that the daemon was started in, and the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terminal {
    /// There was none, or its end was noticed already.
    None,
    /// The daemon ends with it.
    Bound,
    /// The parent has ignored SIGHUP (`nohup`), so the signal by which the terminal ends stays ignored.
    Ignored,
}

impl Terminal {
    /// The request behind SIGHUP, if the terminal is there (`is_open`) or not; `None` if there is none.
    fn on_hang_up(&mut self, is_open: bool) -> Option<Signal> {
        match *self {
            Self::Bound if !is_open => Some(Signal::Stop),
            Self::Ignored if !is_open => {
                *self = Self::None;
                None
            }
            _ => Some(Signal::Reload),
        }
    }
}

impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// The system does not deliver signals to this process.
    pub fn listen() -> io::Result<Self> {
        // Read first: the handler replaces what the parent has set.
        let terminal = match (has_terminal(), ignores_hang_up()) {
            (false, _) => Terminal::None,
            (true, false) => Terminal::Bound,
            (true, true) => Terminal::Ignored,
        };
        Ok(Self {
            terminal,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Signal::Stop,
                _ = self.interrupt.recv() => return Signal::Stop,
                _ = self.hang_up.recv() => {
                    if let Some(signal) = self.terminal.on_hang_up(has_terminal()) {
                        return signal;
                    }
                }
            }
        }
    }
}

/// Whether the process has a controlling terminal. It has none any more once that was closed.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// The script of a child that survives only if SIGHUP is ignored.
const HANG_UP_ITSELF: &str = "kill -HUP $$";

/// Whether the parent has set SIGHUP to be ignored. Without a shell on a system without `/proc` that counts as no.
fn ignores_hang_up() -> bool {
    let shell = || survives(Command::new("sh").args(["-c", HANG_UP_ITSELF]));
    ignores_by_proc().or_else(shell).unwrap_or(false)
}

/// The answer of Linux; `None` elsewhere.
fn ignores_by_proc() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    // Signal 1 is the lowest bit.
    Some(u64::from_str_radix(mask.trim(), 16).ok()? & 1 == 1)
}

/// The answer of a child, on any Unix: an ignored signal stays ignored in it. `None` if it cannot be started.
fn survives(child: &mut Command) -> Option<bool> {
    let ended = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    Some(ended.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hang_up_stops_reloads_or_stays_ignored() {
        let told = |mut terminal: Terminal, is_open: [bool; 3]| is_open.map(|is_open| terminal.on_hang_up(is_open));
        let (stop, reload) = (Some(Signal::Stop), Some(Signal::Reload));
        assert_eq!(told(Terminal::None, [false; 3]), [reload; 3]);
        assert_eq!(told(Terminal::Bound, [true, true, false]), [reload, reload, stop]);
        assert_eq!(told(Terminal::Ignored, [true, false, false]), [reload, None, reload]);
    }

    #[test]
    fn a_child_knows_whether_the_signal_is_ignored() {
        let ignoring = format!("trap '' HUP; exec sh -c '{HANG_UP_ITSELF}'");
        assert_eq!(survives(Command::new("sh").args(["-c", &ignoring])), Some(true));
        // The tests themselves may run with the signal ignored.
        let own = survives(Command::new("sh").args(["-c", HANG_UP_ITSELF]));
        assert!(ignores_by_proc().is_none_or(|told| own == Some(told)), "{own:?}");
        assert_eq!(survives(&mut Command::new("/nonexistent")), None);
    }
}
