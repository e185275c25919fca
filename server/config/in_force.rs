//! Which configuration file is in force, for operators.

use std::{path::PathBuf, time::Instant};

use super::AddressKey;

/// A configuration file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path that the configuration was read from.
    pub path: PathBuf,
    /// The SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// The first key in it that says where to listen.
    pub address: Option<AddressKey>,
}

/// The configuration that is in force, and the last reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigInForce {
    /// The file as it was last read successfully; `None` for the built-in defaults.
    pub source: Option<Source>,
    /// The last reload; `None` if there was none.
    pub last_reload: Option<ReloadEnd>,
}

/// The end of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadEnd {
    /// When the reload ended, by the monotonic clock.
    pub at: Instant,
    /// Why it was refused, for people; `None` if it succeeded.
    pub problem: Option<String>,
}
