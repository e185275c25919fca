//! The process and its operating system: flags, signals, the service manager, hardening, random numbers, timers and the
//! log.

pub mod flags;
pub mod greeting;
pub mod hardening;
pub mod random;
pub mod service_manager;
pub mod signals;
pub mod telemetry;
pub(crate) mod timer;
pub mod token_command;
#[cfg(any(windows, test))]
pub mod windows_service;
pub mod winscard_command;
