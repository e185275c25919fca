//! The part of the actor that publishes the reader's status, for watchers and in the log.

use std::{borrow::Cow, time::Instant};

use cardbroker_core::status::{ReaderStatus, State};
use tracing::{info, warn};

use super::{Actor, machine::ReaderPhase};

impl Actor {
    /// Publishes the status if it has changed. Once the broker stops, nothing more is published.
    pub(super) fn publish(&mut self, now: Instant) {
        let is_plugged = self.phase == ReaderPhase::Plugged;
        let is_published = match &self.published {
            Some(published) => is_plugged && self.lifecycle.is_status(published),
            None => !is_plugged,
        };
        if is_published || self.phase.is_ending() {
            return;
        }
        let status = is_plugged.then(|| self.lifecycle.status());
        let because = self.lifecycle.unusable_because().map(Cow::into_owned);
        match &status {
            Some(status) => log_change(&self.id, status, because.as_deref()),
            None => info!(reader = %self.id, "reader unplugged"),
        }
        let state = |status: &Option<ReaderStatus>| status.as_ref().map(|status| status.state);
        let has_changed = state(&status) != state(&self.published);
        self.record_status(status.as_ref(), because.as_deref(), now);
        if has_changed {
            self.state_since = now;
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
