//! The words of each operating system for people: names of services and commands to type. All systems' words are
//! compiled everywhere, so that a test on one system reads those of the others.

mod unix;
mod windows;

/// The words of one operating system.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// What a person does to stop the PC/SC service, as a sentence.
    pub stop_pcsc: &'static str,
    /// What a person does to start it again, as a sentence.
    pub start_pcsc: &'static str,
    /// How a person tries the broker as another user.
    pub try_second_user: &'static str,
    /// The program that prints the system's version, with its arguments.
    pub version_command: &'static [&'static str],
}

/// The words of Linux and other Unix systems.
pub const UNIX: Words = unix::WORDS;

/// The words of Windows 7 and later.
pub const WINDOWS: Words = windows::WORDS;

/// The words of the system that this program was built for.
pub const HERE: Words = if cfg!(windows) { WINDOWS } else { UNIX };
