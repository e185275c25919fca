//! The broker's tasks: their failure, and their end.

use std::future::pending;

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{outcomes::executions::Executions, registry::RegistryEnd};

/// The broker's tasks. Dropping it leaves them running; [`BrokerTasks::stop`] ends them.
pub struct BrokerTasks {
    /// Cancelled by [`BrokerTasks::stop`]. All tasks have clones.
    pub(super) shutdown: CancellationToken,
    /// The registry's task; `None` once it has failed.
    pub(super) registry: Option<JoinHandle<RegistryEnd>>,
    /// The readers' actors. They end after `shutdown`.
    pub(super) actors: TaskTracker,
    /// The tasks of units with a `request_id`.
    pub(super) executions: Executions,
}

impl BrokerTasks {
    /// Waits until a task ends without which the broker cannot go on, and returns its name. Cancel-safe; pending for
    /// ever after that.
    pub async fn failed(&mut self) -> &'static str {
        let Some(registry) = &mut self.registry else { return pending().await };
        let end = registry.await;
        self.registry = None;
        match end {
            Ok(RegistryEnd::MonitorFailed) => "the monitor thread",
            Ok(RegistryEnd::Shutdown) | Err(_) => "the registry's task",
        }
    }

    /// Returns the tracker of the readers' actors, so that a test can end one.
    #[cfg(test)]
    pub(crate) fn actors(&self) -> TaskTracker {
        self.actors.clone()
    }

    /// Refuses waiting requests, finishes running units, releases all cards, and returns when that is done. The caller
    /// bounds the wait.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.executions.ended().await;
        if let Some(registry) = self.registry {
            // An error means that the task has panicked during the stop.
            let _ = registry.await;
        }
        self.actors.close();
        self.actors.wait().await;
    }
}
