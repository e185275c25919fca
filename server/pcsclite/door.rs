//! The door: accepts the connections of programs, within their limits, and ends with the broker.

use std::{
    future::pending,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cardbroker_core::{
    caller::{Caller, Principal},
    pcsclite::handles::{ExclusiveRule, ShareMode},
    turns::places::Places,
};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, debug_span, warn};

use super::{connection::Connection, groups::Groups, private::PrivateDoors, state::DoorState};
use crate::{
    broker::Broker,
    caller::group::GroupKey,
    config::{Config, Exclusive, Isolation, PcscliteConfig, ReaderSettings},
    listen::{DoorBudgets, DoorListener, DoorListeners, LocalStream},
};

/// Maximum connections of all users, and of one user. Further ones are closed at once: a program whose connection is
/// not accepted would stop altogether.
const CONNECTIONS: [u64; 2] = [1024, 256];

/// The settings of a door.
pub struct DoorSettings {
    /// The effect of an exclusive handle on those of other processes.
    pub exclusive: Exclusive,
    /// The isolation groups of programs.
    pub isolation: Isolation,
    /// How long a handle may keep its turn while others wait.
    pub idle: IdleTimes,
    /// Returns the settings of the reader with this name in PC/SC.
    pub reader: Box<dyn Fn(&str) -> ReaderSettings + Send + Sync>,
}

impl DoorSettings {
    /// The settings of the configuration.
    pub fn new(config: &Config) -> Self {
        let readers = config.clone();
        let PcscliteConfig { exclusive, isolation, .. } = config.pcsclite;
        let reader = Box::new(move |name: &str| readers.reader(name));
        let idle = IdleTimes { own_group: config.limits.max_contended_lease, ..IdleTimes::default() };
        Self { exclusive, isolation, idle, reader }
    }
}

/// How long a handle may keep its turn while others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimes {
    /// Without a command: a shared handle in a transaction.
    pub shared: Duration,
    /// Without a command: an exclusive handle. A person may be entering a PIN.
    pub exclusive: Duration,
    /// In all, while only programs of its own isolation group wait. The broker bounds it for those of other groups.
    pub own_group: Duration,
}

impl Default for IdleTimes {
    fn default() -> Self {
        Self { shared: Duration::from_secs(10), exclusive: Duration::from_secs(20), own_group: Duration::from_secs(20) }
    }
}

impl IdleTimes {
    /// The time of a handle with this share mode.
    pub(super) fn of(self, share: ShareMode) -> Duration {
        match share {
            ShareMode::Exclusive => self.exclusive,
            ShareMode::Shared | ShareMode::Direct => self.shared,
        }
    }
}

/// An open door. Dropping it closes the door; programs lose their connections.
pub struct Door {
    shared: Arc<Shared>,
    /// The task of the main door.
    accepting: Accepting,
}

/// The parts of a door that its connections share.
pub(super) struct Shared {
    pub(super) broker: Broker,
    pub(super) state: Arc<DoorState>,
    pub(super) settings: DoorSettings,
    /// The budgets for refused requests.
    pub(super) budgets: DoorBudgets,
    /// Cancelled when the door closes, or the broker stops.
    draining: CancellationToken,
    places: Mutex<Places<Principal>>,
}

impl Door {
    /// Serves programs until `draining` is cancelled. The second value opens private doors. Call it inside a runtime.
    pub fn open(
        broker: Broker,
        listeners: DoorListeners,
        settings: DoorSettings,
        draining: CancellationToken,
    ) -> (Self, PrivateDoors) {
        let DoorListeners { main, private, budgets } = listeners;
        let shared = Shared::new(broker, settings, budgets, draining.child_token());
        let doors = PrivateDoors::new(Arc::clone(&shared), private);
        let accepting = Accepting::start(&shared, main, Entrance::Main);
        (Self { shared, accepting }, doors)
    }

    /// Waits until the door accepts no more programs although nobody has closed it, and returns the name of its task.
    /// Cancel-safe; pending for ever after that.
    pub async fn failed(&mut self) -> &'static str {
        self.accepting.ended().await;
        "the task that accepts PC/SC programs"
    }

    /// Ends the task that accepts programs, as a fault would.
    #[cfg(all(test, unix))]
    pub(crate) fn abort_accepting(&self) {
        self.accepting.abort();
    }
}

impl Door {
    /// The number of programs' connections now, at private doors, too.
    pub fn connections(&self) -> u64 {
        self.shared.places.lock().unwrap_or_else(PoisonError::into_inner).taken()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The way by which programs come in.
#[derive(Debug, Clone)]
pub(super) enum Entrance {
    /// The socket of the configuration.
    Main,
    /// A private door of this user, into this isolation group, until `closing` is cancelled.
    Private { group: GroupKey, user: Principal, closing: CancellationToken },
}

/// The task that accepts programs at a door; `None` once it has ended.
pub(super) struct Accepting(Option<JoinHandle<()>>);

impl Accepting {
    /// Starts the task. Call it inside a runtime.
    pub(super) fn start(shared: &Arc<Shared>, listener: DoorListener, entrance: Entrance) -> Self {
        Self(Some(tokio::spawn(accept(Arc::clone(shared), listener, entrance))))
    }

    /// Waits for the end of the task. Cancel-safe; pending for ever after that.
    pub(super) async fn ended(&mut self) {
        let Some(task) = &mut self.0 else { return pending().await };
        // An error means that the task has panicked.
        let _ = task.await;
        self.0 = None;
    }

    /// Ends the task, as a fault would.
    #[cfg(all(test, unix))]
    pub(super) fn abort(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts programs until the door closes, and waits for the end of their connections.
async fn accept(shared: Arc<Shared>, listener: DoorListener, entrance: Entrance) {
    let connections = TaskTracker::new();
    let closing = shared.closing(&entrance);
    loop {
        let (stream, caller) = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        shared.admit(&connections, stream, caller, &entrance);
    }
    connections.close();
    connections.wait().await;
}

impl Shared {
    pub(super) fn new(
        broker: Broker,
        settings: DoorSettings,
        budgets: DoorBudgets,
        draining: CancellationToken,
    ) -> Arc<Self> {
        let state = DoorState::new();
        let places = Mutex::new(Places::with_per_user(CONNECTIONS[0], CONNECTIONS[1]));
        Arc::new(Self { broker, state, settings, budgets, draining, places })
    }

    /// Starts to serve a connection, or closes it.
    pub(super) fn admit(
        self: &Arc<Self>,
        connections: &TaskTracker,
        stream: LocalStream,
        caller: Caller,
        entrance: &Entrance,
    ) {
        if caller.pid == Some(process::id()) {
            warn!("the broker's own PC/SC library connects to its own door: set PCSCLITE_CSOCK_NAME of the broker");
            return;
        }
        if let Entrance::Private { user, .. } = entrance
            && (*user != caller.principal() || *user == Principal::Unknown)
        {
            self.budgets.charge(&caller.principal());
            debug!(%caller, "connection of a PC/SC program closed: the private door is another user's");
            return;
        }
        let Some(place) = Place::take(self, caller.principal()) else {
            self.budgets.charge(&caller.principal());
            debug!(%caller, "connection of a PC/SC program closed: its user has too many");
            return;
        };
        let (connection, executable) = (caller.connection, caller.executable.as_deref());
        let span = debug_span!("pcsclite", connection, %caller, executable = executable.map(tracing::field::debug));
        let shared = Arc::clone(self);
        let (closing, entrance) = (self.closing(entrance), entrance.clone());
        let serve = async move {
            let _place = place;
            let Ok(groups) = Groups::join(shared.broker.groups(), &caller, entrance) else { return };
            let mut connection = Connection::new(shared, stream, caller, groups, closing);
            debug!("a PC/SC program has connected");
            let ended = connection.run().await;
            debug!(reason = %ended, "a PC/SC program has disconnected");
        };
        connections.spawn(serve.instrument(span));
    }

    /// Closes the door with all its private ones.
    pub(super) fn close(&self) {
        self.draining.cancel();
    }

    /// A token that is cancelled when a private door closes, or all doors do.
    pub(super) fn private(&self) -> CancellationToken {
        self.draining.child_token()
    }

    /// The token that is cancelled when programs that came in by `entrance` must leave.
    fn closing(&self, entrance: &Entrance) -> CancellationToken {
        match entrance {
            Entrance::Main => self.draining.clone(),
            Entrance::Private { closing, .. } => closing.clone(),
        }
    }

    /// The isolation of programs at the reader with this name in PC/SC.
    pub(super) fn isolation(&self, display_name: &str) -> Isolation {
        (self.settings.reader)(display_name).pcsclite_isolation.unwrap_or(self.settings.isolation)
    }

    /// The effect of exclusive handles at the reader with this name in PC/SC.
    pub(super) fn exclusive(&self, display_name: &str) -> ExclusiveRule {
        (self.settings.reader)(display_name).pcsclite_exclusive.unwrap_or(self.settings.exclusive).into()
    }

    /// How long an exclusive handle may idle at the reader with this name in PC/SC; `None` for any time.
    pub(super) fn idle_limit(&self, display_name: &str) -> Option<Duration> {
        (self.settings.reader)(display_name).released_when_idle()
    }
}

/// A place among the connections. Dropping it gives it back.
struct Place {
    shared: Arc<Shared>,
    user: Principal,
}

impl Place {
    fn take(shared: &Arc<Shared>, user: Principal) -> Option<Self> {
        let taken = shared.places.lock().unwrap_or_else(PoisonError::into_inner).take(user.clone(), 1);
        taken.ok().map(|()| Self { shared: Arc::clone(shared), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.places.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.user.clone(), 1);
    }
}
