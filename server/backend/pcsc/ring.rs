//! The refusal of a broker to be its own PC/SC service through the doors of other brokers.

use std::{
    env,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
#[cfg(unix)]
use std::{
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use cardbroker_core::{
    pcsclite::chain::{self, Chain},
    slot::{ServiceError, SlotStatus},
};
#[cfg(unix)]
use socket2::{Domain, SockAddr, Socket, Type};

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
pub(super) struct ServiceChain(Mutex<Chain>);

impl ServiceChain {
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
    below: Arc<ServiceChain>,
    /// When the service was last asked; `None` before, and after an error.
    asked: Option<Instant>,
}

impl<M: Monitor> RingMonitor<M> {
    pub(super) fn new(monitor: M, ask: fn() -> Chain, own: Option<Arc<str>>, below: Arc<ServiceChain>) -> Self {
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
    ask_at(&service_socket(), ANSWER_TIME).map(|array| chain::read(&array)).unwrap_or_default()
}

/// The whole answer of the service at this socket within `time`. A service that accepts no connection now is not waited
/// for.
#[cfg(unix)]
fn ask_at(socket: &Path, time: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + time;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(Some(left)) }
    };
    let connecting = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    connecting.set_nonblocking(true)?;
    connecting.connect(&SockAddr::unix(socket)?)?;
    connecting.set_nonblocking(false)?;
    let mut stream = UnixStream::from(OwnedFd::from(connecting));
    stream.set_write_timeout(left()?)?;
    stream.write_all(&chain::REQUEST.map(u32::to_ne_bytes).concat())?;
    let mut array = vec![0; chain::ANSWER_BYTES];
    let mut filled = 0;
    while filled < array.len() {
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut array[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    Ok(array)
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
        let below = Arc::new(ServiceChain::default());
        let own = Arc::<str>::from("a");
        let ask = || ["b", "a"].map(Arc::from).into();
        let mut monitor = RingMonitor::new(Service(Vec::new()), ask, Some(Arc::clone(&own)), Arc::clone(&below));
        let ring = Err(ServiceError::Ring { others: 1 });
        assert_eq!([monitor.wait(AGAIN), monitor.wait(AGAIN)], [ring.clone(), ring]);
        assert_eq!(*chain::with_own(&own, &below.chain()), ["a", "b"].map(Arc::from), "the others see it, too");
        monitor.ask = || ["b"].map(Arc::from).into();
        assert_eq!(monitor.wait(AGAIN), Ok(Vec::new()));
    }

    #[test]
    fn the_brokers_below_are_gone_with_the_service() {
        let below = Arc::new(ServiceChain::default());
        let service = Service(vec![Err(ServiceError::Down("gone".into())), Ok(Vec::new())]);
        let mut monitor = RingMonitor::new(service, || ["b"].map(Arc::from).into(), None, Arc::clone(&below));
        assert!(monitor.wait(AGAIN).is_ok() && below.chain().len() == 1);
        assert!(monitor.wait(AGAIN).is_err() && below.chain().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_service_is_not_waited_for() {
        use std::{os::unix::net::UnixListener, thread};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pcscd.comm");
        let listener = UnixListener::bind(&path).unwrap();
        let time = Duration::from_millis(300);
        let asked = Instant::now();
        thread::scope(|scope| {
            let slow = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                while stream.write_all(&[0]).is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
            assert!(ask_at(&path, time).is_err(), "each piece comes in time, the answer does not");
            assert!(slow.join().is_ok());
        });
        let took = asked.elapsed();
        assert!((time..10 * time).contains(&took), "{took:?}");
        // Nobody accepts: the queue is full after some connections.
        let new = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let (path, stopped) = (folder.path().join("stopped.comm"), new());
        let address = SockAddr::unix(&path).unwrap();
        stopped.bind(&address).unwrap();
        stopped.listen(1).unwrap();
        let mut queue = Vec::new();
        loop {
            assert!(queue.len() < 100, "the queue is never full");
            let socket = new();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&address) {
                Ok(()) => queue.push(socket),
                Err(_) => break,
            }
        }
        let asked = Instant::now();
        let error = ask_at(&path, 100 * time).unwrap_err();
        assert!(error.kind() == io::ErrorKind::WouldBlock && asked.elapsed() < time, "{error:?}");
    }
}
