//! The signals that stop the daemon or reload its policy.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use self::unix::Signals;
#[cfg(windows)]
pub use self::windows::Signals;

/// The request behind a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT (Ctrl-C), or SIGHUP because the terminal of the daemon was closed: stop the daemon. On Windows
    /// Ctrl-C, Ctrl-Break, the end of the console or of the system, or the stop of the service.
    Stop,
    /// SIGHUP while the terminal is there, or never was: read configuration and tokens again. On Windows a parameter
    /// change of the service.
    Reload,
}
