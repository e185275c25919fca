//! The status line for a service manager.

use std::time::Duration;

use tokio::time::sleep;

use super::Server;
use crate::broker::Broker;

/// The longest time between two looks at the status line: an idle daemon sleeps.
const INTERVAL: Duration = Duration::from_secs(30);

/// Waits until the status line may have changed.
pub(super) async fn due(broker: &Broker) {
    tokio::select! {
        () = broker.reader_changed() => {}
        () = sleep(INTERVAL) => {}
    }
}

impl Server {
    /// The broker's state, in one line for the service manager.
    pub(super) fn status_line(&self) -> String {
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (readers, connections) = (self.broker.reader_count(), self.connections.open());
        let reload = self.config_in_force.borrow().last_reload.as_ref().and_then(|reload| reload.problem.clone());
        let reload = reload.map(|problem| format!("; the last reload was refused: {problem}")).unwrap_or_default();
        let door = self.config.pcsclite.path().zip(self.door.as_ref());
        let door = door.map(|(path, door)| format!(", {} of PC/SC programs on {}", door.connections(), path.display()));
        let (readers, connections) = (count(readers, "reader"), count(connections, "connection"));
        format!("serving {readers}, {connections} of programs{}{reload}", door.unwrap_or_default())
    }
}
