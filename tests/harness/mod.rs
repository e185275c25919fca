//! What end-to-end tests run their stories on.

use std::time::Duration;

pub mod broker;
pub mod languages;
pub mod markdown;
pub mod memory;
pub mod nginx;
pub mod pcscd;
pub mod programs;
pub mod proxy;
pub mod run;
pub mod users;

/// The longest wait for anything that happens by itself: far more than it takes, even on a busy machine. Tests wait for a
/// condition up to this limit; a shorter time is a figure, which the benchmark measures.
pub const LONGEST: Duration = Duration::from_secs(30);
