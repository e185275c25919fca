//! The process and its operating system: flags, signals, hardening, random numbers, timers and the log.

pub mod flags;
pub mod hardening;
pub mod random;
pub mod signals;
pub mod telemetry;
pub(crate) mod timer;
pub mod token_command;
