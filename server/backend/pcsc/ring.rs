//! The refusal of a broker to be its own PC/SC service through the doors of other brokers.

use std::{
    env,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cardbroker_core::{
    pcsclite::chain::{self, Chain},
    slot::{ServiceError, SlotStatus},
};

use crate::backend::Monitor;

/// The variable by which the PC/SC library finds its service.
const VARIABLE: &str = "PCSCLITE_CSOCK_NAME";
/// The socket of the service without that variable.
const SERVICE: &str = "/run/pcscd/pcscd.comm";

/// How often a service that is a broker is asked again: the brokers below it may have changed.
const AGAIN: Duration = Duration::from_secs(5);
/// The time for the service's answer, which both pcscd and a broker give at once.
#[cfg(unix)]
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The socket of the service that this process's PC/SC library uses.
pub fn service_socket() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| SERVICE.into(), PathBuf::from)
}

/// The brokers below this one, as they were last. The monitor writes it, doors read it.
#[derive(Default)]
pub(super) struct Below(Mutex<Chain>);

impl Below {
    pub(super) fn chain(&self) -> Chain {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, chain: Chain) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }
}

/// A monitor that reports no readers while the broker is its own service.
pub(super) struct RingMonitor<M> {
    monitor: M,
    /// Asks the service for the brokers behind it.
    ask: fn() -> Chain,
    /// The epoch of this run; `None` if nobody is served.
    own: Option<Arc<str>>,
    below: Arc<Below>,
    /// When the service was last asked; `None` before, and after an error.
    asked: Option<Instant>,
}

impl<M: Monitor> RingMonitor<M> {
    pub(super) fn new(monitor: M, ask: fn() -> Chain, own: Option<Arc<str>>, below: Arc<Below>) -> Self {
        Self { monitor, ask, own, below, asked: None }
    }

    fn is_broker(&self) -> bool {
        !self.below.chain().is_empty()
    }
}

impl<M: Monitor> Monitor for RingMonitor<M> {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
        let timeout = if self.is_broker() { timeout.min(AGAIN) } else { timeout };
        let snapshot = self.monitor.wait(timeout);
        if snapshot.is_err() {
            self.asked = None;
            self.below.set(Chain::default());
            return snapshot;
        }
        let is_due = self.asked.is_none_or(|asked| self.is_broker() && asked.elapsed() >= AGAIN);
        if is_due {
            self.below.set((self.ask)());
            self.asked = Some(Instant::now());
        }
        match self.own.as_ref().and_then(|own| chain::ring(own, &self.below.chain())) {
            None => snapshot,
            Some(others) => {
                self.asked = None;
                Err(ServiceError::Ring { others })
            }
        }
    }
}

/// Asks the service of this process's PC/SC library for the brokers behind it. None if it does not answer: the library
/// then finds no service either.
#[cfg(unix)]
pub(super) fn ask() -> Chain {
    use std::{
        io::{self, Read, Write},
        os::unix::net::UnixStream,
    };

    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(service_socket())?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        stream.write_all(&chain::REQUEST.map(u32::to_ne_bytes).concat())?;
        let mut array = vec![0; chain::ANSWER_BYTES];
        stream.read_exact(&mut array)?;
        Ok(array)
    };
    ask().map(|array| chain::read(&array)).unwrap_or_default()
}

/// There are no doors on other systems.
#[cfg(not(unix))]
pub(super) fn ask() -> Chain {
    Chain::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Service(Vec<Result<Vec<SlotStatus>, ServiceError>>);

    impl Monitor for Service {
        fn wait(&mut self, _: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
            self.0.pop().unwrap_or(Ok(Vec::new()))
        }
    }

    #[test]
    fn a_ring_is_an_error_until_it_is_cut() {
        let below = Arc::new(Below::default());
        let own = Arc::<str>::from("a");
        let ask = || ["b", "a"].map(Arc::from).into();
        let mut monitor = RingMonitor::new(Service(Vec::new()), ask, Some(Arc::clone(&own)), Arc::clone(&below));
        let ring = Err(ServiceError::Ring { others: 1 });
        assert_eq!([monitor.wait(AGAIN), monitor.wait(AGAIN)], [ring.clone(), ring]);
        assert_eq!(*chain::told(&own, &below.chain()), ["a", "b"].map(Arc::from), "the others see it, too");
        monitor.ask = || ["b"].map(Arc::from).into();
        assert_eq!(monitor.wait(AGAIN), Ok(Vec::new()));
    }

    #[test]
    fn the_brokers_below_are_gone_with_the_service() {
        let below = Arc::new(Below::default());
        let service = Service(vec![Err(ServiceError::Down("gone".into())), Ok(Vec::new())]);
        let mut monitor = RingMonitor::new(service, || ["b"].map(Arc::from).into(), None, Arc::clone(&below));
        assert!(monitor.wait(AGAIN).is_ok() && below.chain().len() == 1);
        assert!(monitor.wait(AGAIN).is_err() && below.chain().is_empty());
    }
}
