//! The monitor of PC/SC's readers and of the cards in them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::slot::{ServiceError, SlotStatus};
use pcsc::{Context, Error, PNP_NOTIFICATION, ReaderState, Scope};

use super::{error::service_error, monitor_wait::MonitorWait};
use crate::backend::Monitor;

/// The time without a change after which long waits begin. Readers that come between the list of the readers and
/// the wait raise no event; most come together with other changes, and the next list shows them.
const SETTLING_TIME: Duration = Duration::from_secs(1);

/// The number of readers at which pcsc-lite accepts no further one. It is also the maximum in one wait, so with all of
/// them there is no place for the pseudo-reader, and no use. Other services have no such limit.
const MOST_READERS: usize = if cfg!(target_os = "linux") { 16 } else { usize::MAX };

/// Monitors the service with its own context, because calls on one context block each other.
pub(super) struct PcscMonitor {
    /// `None` before the first poll, and after an error.
    context: Option<Context>,
    /// The readers as PC/SC reported them last, and the pseudo-reader that announces new ones.
    states: Vec<ReaderState>,
    /// The last return value of [`Monitor::wait`].
    last: Option<Vec<SlotStatus>>,
    /// Whether the last poll has waited to its end without a change.
    is_settled: bool,
    /// Ends this monitor's long waits.
    wait: Arc<MonitorWait>,
}

impl Monitor for PcscMonitor {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.poll(deadline) {
                Ok(snapshot) if self.last.as_ref() != Some(&snapshot) => {
                    self.last = Some(snapshot.clone());
                    return Ok(snapshot);
                }
                Ok(snapshot) if self.wait.take_wake() || Instant::now() >= deadline => return Ok(snapshot),
                Ok(_) => {}
                Err(error) => {
                    *self = Self::new(Arc::clone(&self.wait));
                    return Err(service_error(error));
                }
            }
        }
    }
}

impl PcscMonitor {
    /// Creates a monitor that has not polled yet.
    pub(super) fn new(wait: Arc<MonitorWait>) -> Self {
        Self { context: None, states: Vec::new(), last: None, is_settled: false, wait }
    }

    /// Lists the readers, then waits for a change if nothing has changed since the last poll.
    fn poll(&mut self, deadline: Instant) -> Result<Vec<SlotStatus>, Error> {
        let context = match &self.context {
            Some(context) => context.clone(),
            None => self.context.insert(Context::establish(Scope::System)?).clone(),
        };
        let names = match context.list_readers_owned() {
            Ok(names) => names,
            Err(Error::NoReadersAvailable) => Vec::new(),
            Err(error) => return Err(error),
        };
        let announcer = (names.len() < MOST_READERS).then(|| PNP_NOTIFICATION().to_owned());
        let watched: Vec<_> = announcer.into_iter().chain(names).collect();
        self.states.retain(|state| watched.iter().any(|name| **name == *state.name()));
        let mut has_new = false;
        for name in watched {
            if !self.states.iter().any(|state| state.name() == &*name) {
                self.states.push(ReaderState::new(name, pcsc::State::UNAWARE));
                has_new = true;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = match has_new {
            true => Duration::ZERO,
            false if self.is_settled && self.begin_long(&context) => left,
            false => left.min(SETTLING_TIME),
        };
        let waited = context.get_status_change(timeout, &mut self.states);
        self.wait.end();
        self.is_settled = !has_new && waited == Err(Error::Timeout);
        match waited {
            Ok(()) => self.states.iter_mut().for_each(ReaderState::sync_current_state),
            // A reader was unplugged between the two calls; the next poll does not list it.
            Err(Error::Timeout | Error::Cancelled | Error::UnknownReader | Error::ReaderUnavailable) => {}
            Err(error) => return Err(error),
        }
        let readers = self.states.iter().filter(|state| state.name() != PNP_NOTIFICATION());
        Ok(readers.filter(|state| !state.event_state().contains(pcsc::State::UNKNOWN)).map(slot_status).collect())
    }

    /// Begins a long wait on that context; `false` if it must be a short one.
    fn begin_long(&self, context: &Context) -> bool {
        let context = context.clone();
        // Cancelling fails only if the service has stopped, which ends the wait too.
        self.wait.begin_long(move || {
            let _ = context.cancel();
        })
    }
}

fn slot_status(state: &ReaderState) -> SlotStatus {
    let card_present = state.event_state().contains(pcsc::State::PRESENT);
    SlotStatus {
        display_name: state.name().to_string_lossy().into_owned(),
        card_present,
        event_count: state.event_count(),
        atr: if card_present { state.atr().to_vec() } else { Vec::new() },
    }
}
