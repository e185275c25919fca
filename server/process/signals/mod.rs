//! The signals that stop the daemon or reload its policy.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use self::unix::Signals;
#[cfg(windows)]
pub use self::windows::Signals;

use std::time::Duration;

/// The longest grace at the end of the console. Windows kills the process 5 s after it has announced that, and the
/// steps after the grace take 2.5 s at most: half a second for streams that stay open, a second for the endpoint file
/// and the last bytes of connections, and a second for the log.
const END_GRACE: Duration = Duration::from_secs(2);

/// The request behind a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT (Ctrl-C), or SIGHUP because the terminal of the daemon was closed: stop the daemon. On Windows
    /// Ctrl-C, Ctrl-Break, or the stop of the service.
    Stop,
    /// The end of the console, of the user's session or of the system on Windows, which kills the daemon soon: stop it
    /// before that.
    End,
    /// SIGHUP while the terminal is there, or never was: read configuration and tokens again. On Windows a parameter
    /// change of the service.
    Reload,
}

impl Signal {
    /// The grace of a stop by this signal, if `configured` is that of other stops.
    pub fn grace(self, configured: Duration) -> Duration {
        match self {
            Self::End => configured.min(END_GRACE),
            Self::Stop | Self::Reload => configured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_console_cuts_a_long_grace() {
        let [short, usual] = [1, 10].map(Duration::from_secs);
        assert_eq!([short, usual].map(|grace| Signal::Stop.grace(grace)), [short, usual]);
        assert_eq!([short, usual].map(|grace| Signal::End.grace(grace)), [short, END_GRACE]);
        let (next_steps, limit) = (Duration::from_millis(2500), Duration::from_secs(5));
        assert!(END_GRACE + next_steps < limit);
    }
}
