//! The part of the actor that publishes the reader's status, for watchers and in the log.

use cardbroker_core::status::{ReaderStatus, State};
use tracing::{info, warn};

use super::{Actor, machine::ReaderPhase};

impl Actor {
    /// Publishes the status if it has changed. Once the broker stops, nothing more is published.
    pub(super) fn publish(&mut self) {
        let status = (self.phase == ReaderPhase::Plugged).then(|| self.lifecycle.status());
        if status == self.published || self.phase.is_ending() {
            return;
        }
        match &status {
            Some(now) => log_change(&self.id, now, self.lifecycle.unusable_because().as_deref()),
            None => info!(reader = %self.id, "reader unplugged"),
        }
        self.publisher.publish(status.clone());
        self.published = status;
    }
}

fn log_change(id: &str, status: &ReaderStatus, because: Option<&str>) {
    let state = status.state;
    let insertion = status.insertion_id.as_str();
    match state {
        State::Mute | State::HeldElsewhere | State::Unresponsive | State::Unavailable => {
            warn!(reader = %id, ?state, insertion, because, "reader state changed");
        }
        State::Empty | State::Settling | State::Ready => info!(reader = %id, ?state, insertion, "reader state changed"),
    }
}
