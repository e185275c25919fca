//! The registry of readers: a task that owns the readers' ids and actors, receives readers from the monitor thread and
//! statuses from the actors, and alone writes the view that clients see.

mod entry;
mod fit;
mod ids;
mod monitor;
mod naming;
mod view;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    policy::{ReaderNames, unfit::Unfit},
    slot::{ServiceError, SlotName, SlotStatus},
    turns::{limits::QueueLimits, schedule::TurnSettings},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

pub(crate) use self::entry::READER_PREFIX;
use self::{
    entry::{Entry, Named},
    fit::ReportedPatterns,
    monitor::{SlotSnapshot, watch_slots},
};
pub use self::{
    ids::names,
    view::{Difference, ReaderView, View},
};
use crate::{
    backend::Backend,
    config::ReaderSettings,
    journal::Journals,
    policy::access::PolicyInForce,
    process::timer::until,
    reader::{Event, LatestStatuses, ReaderHandle, Statuses, TurnsMoved},
};

/// Maximum number of readers that are served.
pub const MAX_READERS: usize = 4096;

/// The maximum wait of the start for the first poll: a card stack that hangs must neither keep the broker from
/// answering nor from stopping.
const FIRST_POLL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a reader may be missing after the card stack came back before it counts as unplugged: drivers need time to
/// start. The same for a stack that is down, if it [stops with its last reader](Backend::stops_with_last_reader).
const RETURN_TIME: Duration = Duration::from_secs(5);

/// The handles of the readers' actors, by the readers' names (`readers/{id}`). A reader keeps its handle while it is
/// unplugged.
pub type Routes = BTreeMap<Arc<str>, ReaderHandle>;

/// The current readers, published by the registry. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    /// The readers as clients may see them.
    pub view: watch::Receiver<Arc<View>>,
    /// The handles for requests. Each reader of the view is included.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Whether the card stack serves.
    pub stack: watch::Receiver<StackState>,
}

/// Finds the entries of the configuration that apply to none of the present readers.
pub type FindUnfit = Box<dyn Fn(&[ReaderNames]) -> Vec<Unfit> + Send>;

/// The inputs of the registry.
pub struct RegistrySettings {
    /// Returns the settings of the reader with a display name.
    pub reader: Box<dyn Fn(&str) -> ReaderSettings + Send>,
    /// Returns the entries of the configuration that apply to none of the present readers.
    pub unfit_entries: FindUnfit,
    /// The policy, now and after every change.
    pub policy: PolicyInForce,
    /// Creates the journals of the readers.
    pub journals: Journals,
    /// Maximum waiting requests at one reader.
    pub limits: QueueLimits,
    /// The maximum times of visits and contended turns.
    pub turns: TurnSettings,
    /// Wakes the watchers of turns when something may have changed.
    pub turns_moved: TurnsMoved,
    /// The id of this run of the broker.
    pub epoch: String,
}

/// The state of the registry's task, which alone reads and writes it.
struct Registry {
    /// The card stack, which provides the slot of each new reader.
    backend: Arc<dyn Backend>,
    /// The inputs from the broker, passed on to each new actor. Never change.
    settings: RegistrySettings,
    /// The readers as clients may see them. Written here only, from the actors' statuses.
    view: watch::Sender<Arc<View>>,
    /// The handles for requests. Written here only, when a reader gets its name; entries are removed only when a reader
    /// gets another name while it is there.
    routes: watch::Sender<Arc<Routes>>,
    /// Receives the actors' statuses, by the readers' names in the card stack.
    statuses: Statuses,
    /// Cancelled when the broker stops, which ends the task. Each actor has a clone.
    shutdown: CancellationToken,
    /// By the name in the card stack; kept while the broker runs, so that a reader that comes back has the same id.
    readers: HashMap<SlotName, Entry>,
    /// The readers as of the last poll; some may still wait for their ids.
    slots: Vec<SlotStatus>,
    /// The patterns that the log has named already because they fit no reader.
    reported: ReportedPatterns,
    /// When a reader with a number may get its alias next; `None` while none waits for one.
    next_hand_over: Option<Instant>,
    /// The readers' actors. The broker waits for them, also when the registry's task has failed.
    actors: TaskTracker,
    /// When the stack came back, for [`RETURN_TIME`], in which readers may be missing. `None` at all other times.
    back_since: Option<Instant>,
    /// Why the stack was down at the last poll; `None` if it was up.
    down_because: Option<ServiceError>,
    /// When a stack that is down counts as one whose last reader was unplugged; `None` if it is up or never does.
    gone_at: Option<Instant>,
    /// Publishes whether the stack serves.
    stack: watch::Sender<StackState>,
}

/// Whether the card stack serves, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackState {
    /// When this state of the stack began.
    pub since: Instant,
    /// Why the stack does not serve, for people; `None` while it serves.
    pub problem: Option<String>,
}

/// Why the registry's task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryEnd {
    /// The broker stops, and all readers' actors have ended.
    Shutdown,
    /// The monitor thread has failed: readers can no longer be followed.
    MonitorFailed,
}

/// Starts monitor and registry, and waits a limited time for the first poll of the readers (a stack that is down counts
/// as polled). The task ends after `shutdown` with all readers' actors, which are tasks of `actors`, or earlier by a
/// failure.
///
/// # Errors
/// The system cannot start a thread.
pub async fn start(
    backend: Arc<dyn Backend>,
    settings: RegistrySettings,
    shutdown: CancellationToken,
    actors: TaskTracker,
) -> io::Result<(Readers, JoinHandle<RegistryEnd>)> {
    let (snapshots, next_snapshot) = mpsc::channel(1);
    let monitor = backend.monitor();
    thread::Builder::new().name("monitor".into()).spawn(move || watch_slots(monitor, &snapshots))?;

    let (view, views) = watch::channel(Arc::default());
    let (routes, latest_routes) = watch::channel(Arc::default());
    let unknown = Some("PC/SC has not answered yet".to_owned());
    let (stack, stack_state) = watch::channel(StackState { since: Instant::now(), problem: unknown });
    let registry = Registry {
        backend,
        settings,
        view,
        routes,
        statuses: Statuses::default(),
        shutdown,
        readers: HashMap::new(),
        slots: Vec::new(),
        reported: ReportedPatterns::default(),
        next_hand_over: None,
        actors,
        back_since: None,
        down_because: None,
        gone_at: None,
        stack,
    };
    let (polled, first_poll) = oneshot::channel();
    let task = tokio::spawn(registry.run(next_snapshot, polled));
    // An error means that the shutdown came first.
    if timeout(FIRST_POLL_TIMEOUT, first_poll).await.is_err() {
        warn!("PC/SC accepts connections but does not answer: readers appear when it does");
    }
    Ok((Readers { view: views, routes: latest_routes, stack: stack_state }, task))
}

impl Registry {
    async fn run(mut self, mut snapshots: mpsc::Receiver<SlotSnapshot>, polled: oneshot::Sender<()>) -> RegistryEnd {
        let mut polled = Some(polled);
        let mut has_polled = false;
        let (shutdown, statuses) = (self.shutdown.clone(), self.statuses.clone());
        let mut policy = self.settings.policy.clone();
        loop {
            let returned = self.back_since.map(|since| since + RETURN_TIME);
            tokio::select! {
                () = shutdown.cancelled() => break,
                snapshot = snapshots.recv() => match snapshot {
                    Some(snapshot) => {
                        self.take_in(snapshot).await;
                        has_polled = true;
                    }
                    None => {
                        error!("the monitor thread has ended: restart the broker and report the fault");
                        return RegistryEnd::MonitorFailed;
                    }
                },
                latest = statuses.take() => self.apply(latest),
                Ok(()) = policy.changed() => self.reported.on_rules(Instant::now()),
                () = until(self.reported.due) => self.tell_unfit(),
                () = until(self.next_hand_over) => self.hand_over().await,
                () = until(self.gone_at) => {
                    self.gone_at = None;
                    self.unplug(|_| true).await;
                }
                () = until(returned) => {
                    self.back_since = None;
                    self.unplug(|entry| entry.reported.is_none()).await;
                    // Readers may have waited for an id that is free now.
                    let slots = std::mem::take(&mut self.slots);
                    self.see(slots).await;
                }
            }
            // The first poll counts when the view shows its result.
            let is_shown = |entry: &Entry| entry.reported.is_none() || entry.has_published;
            if let Some(polled) = polled.take_if(|_| has_polled && self.readers.values().all(is_shown)) {
                // Nobody waits if the start was cancelled.
                let _ = polled.send(());
            }
        }
        // Nobody reads the snapshots any more, which ends the monitor thread.
        drop(snapshots);
        self.backend.wake_monitor();
        self.actors.close();
        self.actors.wait().await;
        RegistryEnd::Shutdown
    }

    async fn take_in(&mut self, snapshot: SlotSnapshot) {
        let problem = snapshot.as_ref().err().map(ToString::to_string);
        self.stack.send_if_modified(|state| {
            let has_changed = state.problem != problem;
            if has_changed {
                *state = StackState { since: Instant::now(), problem };
            }
            has_changed
        });
        match snapshot {
            Ok(slots) => {
                self.gone_at = None;
                if self.down_because.take().is_some() {
                    info!("PC/SC is back");
                    self.back_since = Some(Instant::now());
                }
                self.see(slots).await;
            }
            Err(because) => {
                if self.down_because.as_ref() != Some(&because) {
                    // On Windows the service runs only while a reader is plugged in.
                    let has_readers = self.readers.values().any(|entry| !entry.unplugged);
                    let is_usual = matches!(because, ServiceError::Down(_)) && !has_readers;
                    warn!("{}{because}", if is_usual { "no readers yet: " } else { "" });
                }
                self.slots.clear();
                for entry in self.readers.values_mut().filter(|entry| !entry.unplugged) {
                    entry.on_missing();
                    entry.send(Event::Unavailable(because.to_string())).await;
                }
                self.back_since = None;
                if self.down_because.is_none() && self.backend.stops_with_last_reader() {
                    self.gone_at = Some(Instant::now() + RETURN_TIME);
                }
                self.down_because = Some(because);
            }
        }
    }

    /// Writes the actors' published statuses into the view, and wakes the watchers if something has changed.
    fn apply(&mut self, latest: LatestStatuses) {
        update(&self.view, |view| {
            for (slot, status) in latest {
                if let Some(entry) = self.readers.get_mut(&slot) {
                    entry.has_published = true;
                    if let Some(Named { name, names }) = &entry.named {
                        view.apply(name, names, status);
                    }
                }
            }
        });
    }

    async fn see(&mut self, slots: Vec<SlotStatus>) {
        let listed: HashSet<_> = slots.iter().map(|slot| &slot.name).collect();
        let is_returning = self.back_since.is_some();
        // First, so that an alias is free for a reader that has come elsewhere.
        for (name, entry) in &mut self.readers {
            if !listed.contains(name) && (entry.reported.is_some() || !is_returning) {
                entry.unplug().await;
            }
        }
        // Readers that have their ids come before new ones, which get those that are left.
        let (known, others): (Vec<_>, Vec<_>) =
            slots.iter().partition(|slot| self.readers.get(&slot.name).is_some_and(|entry| entry.named.is_some()));
        for slot in known.into_iter().chain(others) {
            let Some(entry) = self.entry(&slot.name).await else { continue };
            if entry.reported.as_ref() != Some(slot) {
                entry.on_seen(slot.clone());
                entry.send(Event::Seen(slot.clone())).await;
            }
        }
        let is_same = self.slots.iter().map(|slot| &slot.name).eq(slots.iter().map(|slot| &slot.name));
        if !is_same {
            self.reported.on_list(Instant::now());
        }
        self.slots = slots;
        self.hand_over().await;
    }

    async fn unplug(&mut self, condition: impl Fn(&Entry) -> bool) {
        for entry in self.readers.values_mut().filter(|entry| condition(entry)) {
            entry.unplug().await;
        }
    }
}

/// Changes the view, and wakes its watchers if that made a difference.
fn update(view: &watch::Sender<Arc<View>>, change: impl FnOnce(&mut View)) {
    view.send_if_modified(|view| {
        let before = view.generation();
        // Copies nothing unless a reader list is held: watchers keep generations, not views.
        let view = Arc::make_mut(view);
        change(view);
        view.generation() > before
    });
}

#[cfg(test)]
mod tests;
