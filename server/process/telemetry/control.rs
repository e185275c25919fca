//! The handle by which operators look at the running log and change its filter for a time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;
use tracing_subscriber::{EnvFilter, reload};

use super::{filter, lanes::Lane, writer::Log};
use crate::config::LogConfig;

/// Replaces the filter of the installed log.
pub(super) type Replace = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// The running log. Clones control the same log.
#[derive(Clone)]
pub struct LogControl(Arc<Shared>);

struct Shared {
    log: Log,
    /// The settings at the start, to which the filter reverts.
    config: LogConfig,
    replace: Box<Replace>,
    /// Whether the log is text on a terminal.
    is_for_person: bool,
    /// The filter that is in force for a time, if there is one.
    change: Mutex<Option<Change>>,
}

struct Change {
    filter: String,
    until: Instant,
    /// The task that reverts the filter. Aborted by the next change.
    revert: AbortHandle,
}

/// The filter of the log in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterInForce {
    /// Its directives, as an operator or the configuration has written them.
    pub directives: String,
    /// When the configured filter is in force again; `None` if it is.
    pub until: Option<Instant>,
}

impl LogControl {
    pub(super) fn new(log: Log, config: LogConfig, replace: Box<Replace>, is_for_person: bool) -> Self {
        Self(Arc::new(Shared { log, config, replace, is_for_person, change: Mutex::new(None) }))
    }

    /// Writes lines for a person, with every filter, if the log is text on a terminal.
    pub fn tell_person(&self, lines: &str) {
        if self.0.is_for_person {
            self.0.log.push(Lane::Ordinary, lines.as_bytes());
        }
    }

    /// The number of lines that were lost so far because the log's reader was too slow.
    pub fn lost_lines(&self) -> u64 {
        self.0.log.lost_lines()
    }

    /// Returns the filter of the log in force.
    pub fn filter(&self) -> FilterInForce {
        match &*self.change() {
            Some(Change { filter, until, .. }) => FilterInForce { directives: filter.clone(), until: Some(*until) },
            None => FilterInForce { directives: self.0.config.level.as_str().to_owned(), until: None },
        }
    }

    /// Puts a filter in force for a time. Call it inside a runtime. Returns when the configured one is in force again.
    ///
    /// # Errors
    /// The mistake in the filter, for people.
    pub fn change_for(&self, wanted: &str, time: Duration) -> Result<Instant, String> {
        let filter = filter::changed(&self.0.config, wanted)?;
        let mut change = self.change();
        (self.0.replace)(filter).map_err(|error| format!("the filter cannot be replaced: {error}"))?;
        let until = Instant::now() + time;
        let control = self.clone();
        let revert = tokio::spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            control.revert(until);
        });
        let next = Change { filter: wanted.to_owned(), until, revert: revert.abort_handle() };
        if let Some(before) = change.replace(next) {
            before.revert.abort();
        }
        Ok(until)
    }

    /// Puts the configured filter in force again, if it is due then and no other change has come in the meantime.
    fn revert(&self, due: Instant) {
        let mut change = self.change();
        if change.as_ref().is_none_or(|change| change.until != due) {
            return;
        }
        if let Ok(configured) = filter::configured(&self.0.config) {
            // It was valid at the start; an error means that the process ends.
            let _ = (self.0.replace)(configured);
        }
        *change = None;
    }

    /// Every change is a single assignment, so a panic elsewhere leaves it whole.
    fn change(&self) -> MutexGuard<'_, Option<Change>> {
        self.0.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
