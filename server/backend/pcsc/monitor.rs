//! The monitor of PC/SC's readers and of the cards in them.

use std::{
    ffi::CString,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::slot::{ServiceError, SlotName, SlotStatus};
use pcsc::{Context, Error, PNP_NOTIFICATION, ReaderState, Scope};

use super::{error::service_error, monitor_wait::MonitorWait, pace::pause};
use crate::backend::Monitor;

/// The time without a change after which long waits begin. Readers that come between the list of the readers and
/// the wait raise no event; most come together with other changes, and the next list shows them.
const SETTLING_TIME: Duration = Duration::from_secs(1);
/// The pause between two rounds over readers that one wait has no room for.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// The first room for the names of all readers: more than pcsc-lite's 16 readers need.
const NAMES_BYTES: usize = 4096;
/// The maximum room for them, enough for as many readers as the broker serves.
const MAX_NAMES_BYTES: usize = 1 << 20;

/// The calls of PC/SC that a monitor makes.
pub(super) trait Calls: Clone + Send + Sync + 'static {
    /// The names of all readers.
    fn readers(&self) -> Result<Vec<CString>, Error>;
    /// Waits for a change of one of these readers.
    fn await_change(&self, timeout: Duration, states: &mut [ReaderState]) -> Result<(), Error>;
    /// Ends a wait in another thread.
    fn end_wait(&self);
}

impl Calls for Context {
    fn readers(&self) -> Result<Vec<CString>, Error> {
        let mut room = NAMES_BYTES;
        loop {
            match self.list_readers(&mut vec![0; room]) {
                Err(Error::InsufficientBuffer) if room < MAX_NAMES_BYTES => room *= 4,
                listed => return listed.map(|names| names.map(ToOwned::to_owned).collect()),
            }
        }
    }

    fn await_change(&self, timeout: Duration, states: &mut [ReaderState]) -> Result<(), Error> {
        self.get_status_change(timeout, states)
    }

    fn end_wait(&self) {
        // Cancelling fails only if the service has stopped, which ends the wait too.
        let _ = self.cancel();
    }
}

/// Opens a context of the service.
pub(super) fn establish() -> Result<Context, Error> {
    Context::establish(Scope::System)
}

/// Monitors the service with its own context, because calls on one context block each other.
pub(super) struct PcscMonitor<C> {
    /// Opens a context of the service, at the first poll and after an error.
    establish: fn() -> Result<C, Error>,
    /// `None` before the first poll, and after an error.
    context: Option<C>,
    /// The readers as PC/SC reported them last, and the pseudo-reader that announces new ones if there is room for it.
    states: Vec<ReaderState>,
    /// The room of one wait, in readers and pseudo-reader, as far as the service has refused more. pcsc-lite 1.9 has
    /// room for 16, as many as it serves; 2.5 and other services differ, and none tells it.
    room: usize,
    /// Whether the service may know the pseudo-reader that announces new readers. macOS does not.
    knows_announcer: bool,
    /// The last return value of [`Monitor::wait`].
    last: Option<Vec<SlotStatus>>,
    /// Whether the last poll has waited to its end without a change.
    is_settled: bool,
    /// Ends this monitor's long waits.
    wait: Arc<MonitorWait>,
}

impl<C: Calls> Monitor for PcscMonitor<C> {
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
                    *self = Self::new(self.establish, Arc::clone(&self.wait));
                    return Err(service_error(error));
                }
            }
        }
    }
}

impl<C: Calls> PcscMonitor<C> {
    /// Creates a monitor that has not polled yet.
    pub(super) fn new(establish: fn() -> Result<C, Error>, wait: Arc<MonitorWait>) -> Self {
        let (context, states, room) = (None, Vec::new(), usize::MAX);
        Self { establish, context, states, room, knows_announcer: true, last: None, is_settled: false, wait }
    }

    /// Lists the readers, then waits for a change if nothing has changed since the last poll.
    fn poll(&mut self, deadline: Instant) -> Result<Vec<SlotStatus>, Error> {
        let context = match &self.context {
            Some(context) => context.clone(),
            None => self.context.insert((self.establish)()?).clone(),
        };
        let names = context.readers()?;
        // Without it, the next poll lists new readers.
        let has_announcer = self.knows_announcer && names.len() < self.room;
        let announcer = has_announcer.then(|| PNP_NOTIFICATION().to_owned());
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
            false if has_announcer && self.is_settled && self.begin_long(&context) => left,
            false => left.min(SETTLING_TIME),
        };
        let (began, before) = (Instant::now(), picture(&self.states));
        let waited = self.await_change(&context, timeout);
        self.wait.end();
        let took = began.elapsed();
        self.is_settled = !has_new && waited == Err(Error::Timeout);
        match waited {
            Ok(()) => {
                let is_unknown = |state: &ReaderState| state.event_state().contains(pcsc::State::UNKNOWN);
                self.knows_announcer &= !self.states.iter().any(|state| is_announcer(state) && is_unknown(state));
                self.states.iter_mut().for_each(ReaderState::sync_current_state);
            }
            // A reader was unplugged between the two calls; the next poll does not list it.
            Err(Error::Timeout | Error::Cancelled | Error::UnknownReader | Error::ReaderUnavailable) => {}
            Err(Error::InvalidParameter | Error::InvalidValue) if self.states.len().min(self.room) > 1 => {
                // The pseudo-reader goes first.
                let count = self.states.len();
                self.room = if has_announcer { count - 1 } else { count.min(self.room) / 2 };
                return self.poll(deadline);
            }
            Err(error) => return Err(error),
        }
        thread::sleep(pause(waited, took, timeout, picture(&self.states) != before));
        let readers = self.states.iter().filter(|state| !is_announcer(state));
        Ok(readers.filter(|state| !state.event_state().contains(pcsc::State::UNKNOWN)).map(slot_status).collect())
    }

    /// Waits for a change of any reader, in rounds if one wait has no room for all.
    fn await_change(&mut self, context: &C, timeout: Duration) -> Result<(), Error> {
        if self.states.is_empty() {
            // A wait for no reader may end at once.
            thread::sleep(timeout);
            return Err(Error::Timeout);
        }
        if self.states.len() <= self.room {
            return context.await_change(timeout, &mut self.states);
        }
        let deadline = Instant::now() + timeout;
        loop {
            let mut round = Err(Error::Timeout);
            for part in self.states.chunks_mut(self.room.max(1)) {
                match context.await_change(Duration::ZERO, part) {
                    Err(Error::Timeout) => {}
                    Ok(()) => round = Ok(()),
                    error => return error,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if round.is_ok() || left.is_zero() {
                return round;
            }
            thread::sleep(left.min(ROUND_PAUSE));
        }
    }

    /// Begins a long wait on that context; `false` if it must be a short one.
    fn begin_long(&self, context: &C) -> bool {
        let context = context.clone();
        self.wait.begin_long(move || context.end_wait())
    }
}

/// The states as PC/SC has reported them, which a wait that does wait returns only if they differ from the last ones.
pub(super) fn picture(states: &[ReaderState]) -> Vec<(pcsc::State, u32, Vec<u8>)> {
    let parts =
        |state: &ReaderState| (state.event_state() - pcsc::State::CHANGED, state.event_count(), state.atr().to_vec());
    states.iter().map(parts).collect()
}

fn is_announcer(state: &ReaderState) -> bool {
    state.name() == PNP_NOTIFICATION()
}

fn slot_status(state: &ReaderState) -> SlotStatus {
    let card_present = state.event_state().contains(pcsc::State::PRESENT);
    SlotStatus {
        name: SlotName::new(state.name().to_bytes()),
        card_present,
        event_count: state.event_count(),
        atr: if card_present { state.atr().to_vec() } else { Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A service with `READERS` readers, and room for `ROOM` of them in one wait.
    #[derive(Clone)]
    struct Service<const READERS: usize, const ROOM: usize>;

    impl<const READERS: usize, const ROOM: usize> Calls for Service<READERS, ROOM> {
        fn readers(&self) -> Result<Vec<CString>, Error> {
            Ok((0..READERS).map(|reader| CString::new(format!("R\u{ae} {reader}")).unwrap()).collect())
        }

        fn await_change(&self, timeout: Duration, states: &mut [ReaderState]) -> Result<(), Error> {
            if states.len() > ROOM {
                return Err(Error::InvalidParameter);
            }
            let watches_new = states.iter().any(|state| state.name() == PNP_NOTIFICATION());
            assert!(watches_new || timeout <= SETTLING_TIME, "new readers are not seen for {timeout:?}");
            Err(Error::Timeout)
        }

        fn end_wait(&self) {}
    }

    /// A service whose waits return at once, with the same picture.
    #[derive(Clone)]
    struct Hasty;

    static HASTY_WAITS: AtomicUsize = AtomicUsize::new(0);

    impl Calls for Hasty {
        fn readers(&self) -> Result<Vec<CString>, Error> {
            Ok(vec![c"R".into()])
        }

        fn await_change(&self, _: Duration, _: &mut [ReaderState]) -> Result<(), Error> {
            HASTY_WAITS.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn end_wait(&self) {}
    }

    #[test]
    fn a_service_whose_waits_return_at_once_is_asked_at_most_every_50_ms() {
        let mut monitor = PcscMonitor::new(|| Ok(Hasty), Arc::default());
        let began = Instant::now();
        for _ in 0..2 {
            monitor.wait(Duration::from_millis(500)).unwrap();
        }
        // The first poll does not wait, and the last one only to its limit.
        let most = began.elapsed().as_millis() / 50 + 3;
        let waits = HASTY_WAITS.load(Ordering::Relaxed);
        assert!((3..=most).contains(&(waits as u128)), "{waits} waits, {most} at most");
    }

    /// How many readers the monitor reports, in each of three polls.
    fn reported<const READERS: usize, const ROOM: usize>() -> Vec<usize> {
        let establish = || Ok(Service::<READERS, ROOM>);
        let mut monitor = PcscMonitor::new(establish, Arc::default());
        (0..3).map(|_| monitor.wait(Duration::ZERO).unwrap().len()).collect()
    }

    #[test]
    fn all_readers_are_reported_whatever_the_room_of_a_wait() {
        assert_eq!(reported::<0, 16>(), [0; 3]);
        assert_eq!(reported::<15, 16>(), [15; 3]);
        assert_eq!(reported::<16, 16>(), [16; 3]);
        assert_eq!(reported::<17, 16>(), [17; 3]);
        assert_eq!(reported::<300, 300>(), [300; 3]);
        assert_eq!(reported::<300, 400>(), [300; 3]);
        assert_eq!(reported::<300, 10>(), [300; 3]);
        assert_eq!(reported::<3, 1>(), [3; 3]);
    }

    #[test]
    fn a_service_that_refuses_each_reader_is_not_told_as_one_that_does_not_run() {
        let mut one = PcscMonitor::new(|| Ok(Service::<1, 0>), Arc::default());
        assert!(matches!(one.wait(Duration::ZERO), Err(ServiceError::Refused(_))));
        let mut many = PcscMonitor::new(|| Ok(Service::<9, 0>), Arc::default());
        assert!(matches!(many.wait(Duration::ZERO), Err(ServiceError::Refused(_))));
    }
}
