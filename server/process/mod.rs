//! The process and its operating system: flags, signals, hardening, random numbers and the log.

pub mod flags;
pub mod hardening;
pub mod random;
pub mod signals;
pub mod telemetry;
pub mod token_command;
