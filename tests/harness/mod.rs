//! The harness of the end-to-end tests: brokers, pcscd, proxies, programs, users.

use std::time::Duration;

pub mod broker;
pub mod builds;
pub mod clean_root;
pub mod flood;
pub mod habits;
pub mod http2;
pub mod languages;
pub mod machine;
pub mod memory;
pub mod network;
pub mod newer_pcsclite;
pub mod nginx;
pub mod pcscd;
pub mod programs;
pub mod proxy;
pub mod relay;
pub mod run;
pub mod setup;
pub mod sshd;
pub mod tls;
pub mod tmux;
pub mod users;
pub mod wakeups;
pub mod windows;

/// The limit of every wait for an event: far more than it takes, even on a busy machine. Tests wait for a condition up
/// to this limit; shorter times are measured by the benchmark.
pub const LONGEST: Duration = Duration::from_secs(30);
