//! The registry of readers: a task that owns the readers' ids and actors, receives readers from the monitor thread and
//! statuses from the actors, and alone writes the view that clients see.

mod ids;
mod monitor;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    policy::ReaderNames,
    slot::{ServiceError, SlotStatus},
    turns::{limits::Limits, schedule::Settings},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

pub use self::view::{Difference, ReaderView, View};
use self::{
    ids::free_id,
    monitor::{SlotSnapshot, watch_slots},
};
use crate::{
    backend::Backend,
    config::ReaderSettings,
    policy::access::PolicyInForce,
    process::random::fresh_id,
    reader::{self, Event, LatestStatuses, ReaderHandle, ReaderSetup, StatusPublisher, Statuses, TurnsMoved},
};

/// Maximum number of readers that are served.
pub const MAX_READERS: usize = 4096;

/// The maximum wait of the start for the first poll: a card stack that hangs must neither keep the broker from
/// answering nor from stopping.
const FIRST_POLL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a reader may be missing after the card stack came back before it counts as unplugged: drivers need time to
/// start.
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
}

/// The inputs of the registry.
pub struct RegistrySettings {
    /// Returns the settings of the reader with a display name.
    pub reader: Box<dyn Fn(&str) -> ReaderSettings + Send>,
    /// The policy, now and after every change.
    pub policy: PolicyInForce,
    /// Maximum waiting requests at one reader.
    pub limits: Limits,
    /// The maximum times of visits and contended turns.
    pub turns: Settings,
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
    /// The handles for requests. Written here only, when a reader is new; entries are never removed.
    routes: watch::Sender<Arc<Routes>>,
    /// Receives the actors' statuses, by the readers' display names.
    statuses: Statuses,
    /// Cancelled when the broker stops, which ends the task. Each actor has a clone.
    shutdown: CancellationToken,
    /// By display name; kept while the broker runs, so that a reader that comes back has the same id.
    readers: HashMap<String, Entry>,
    /// The readers' actors. The broker waits for them, also when the registry's task has failed.
    actors: TaskTracker,
    /// When the stack came back, for [`RETURN_TIME`], in which readers may be missing. `None` at all other times.
    back_since: Option<Instant>,
    /// Why the stack was down at the last poll; `None` if it was up.
    down_because: Option<ServiceError>,
}

/// A reader that was seen in this run, plugged in or not.
struct Entry {
    /// The name of the reader: `readers/{id}`.
    name: Arc<str>,
    /// The id and the display name, by which policy rules match the reader. Never change.
    names: Arc<ReaderNames>,
    /// To the actor: the monitor's statuses, outages and unplugging. Closed when the actor has ended.
    events: mpsc::Sender<Event>,
    /// Publishes in place of an actor that has ended before the broker.
    publisher: StatusPublisher,
    /// The last slot status sent to the actor; `None` after an event that the stack is down or the reader unplugged.
    reported: Option<SlotStatus>,
    /// Whether the reader was unplugged. Set with the event for the actor, cleared when a poll shows the reader again.
    unplugged: bool,
    /// Whether the actor has published a status since the start.
    has_published: bool,
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
    let registry = Registry {
        backend,
        settings,
        view,
        routes,
        statuses: Statuses::default(),
        shutdown,
        readers: HashMap::new(),
        actors,
        back_since: None,
        down_because: None,
    };
    let (polled, first_poll) = oneshot::channel();
    let task = tokio::spawn(registry.run(next_snapshot, polled));
    // An error means that the shutdown came first.
    if timeout(FIRST_POLL_TIMEOUT, first_poll).await.is_err() {
        warn!("PC/SC accepts connections but does not answer: readers appear when it does");
    }
    Ok((Readers { view: views, routes: latest_routes }, task))
}

impl Registry {
    async fn run(mut self, mut snapshots: mpsc::Receiver<SlotSnapshot>, polled: oneshot::Sender<()>) -> RegistryEnd {
        let mut polled = Some(polled);
        let mut has_polled = false;
        let (shutdown, statuses) = (self.shutdown.clone(), self.statuses.clone());
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
                () = sleep_until(returned.unwrap_or_else(Instant::now).into()), if returned.is_some() => {
                    self.back_since = None;
                    self.unplug(|entry| entry.reported.is_none()).await;
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
        match snapshot {
            Ok(slots) => {
                if self.down_because.take().is_some() {
                    info!("PC/SC is back");
                    self.back_since = Some(Instant::now());
                }
                self.see(slots).await;
            }
            Err(because) => {
                if self.down_because.as_ref() != Some(&because) {
                    warn!("{because}");
                }
                for entry in self.readers.values_mut().filter(|entry| !entry.unplugged) {
                    entry.reported = None;
                    entry.send(Event::Unavailable(because.to_string())).await;
                }
                self.back_since = None;
                self.down_because = Some(because);
            }
        }
    }

    /// Writes the actors' published statuses into the view, and wakes the watchers if something has changed.
    fn apply(&mut self, latest: LatestStatuses) {
        self.view.send_if_modified(|view| {
            let before = view.generation();
            // Copies nothing unless a reader list is held: watchers keep generations, not views.
            let view = Arc::make_mut(view);
            for (display_name, status) in latest {
                if let Some(entry) = self.readers.get_mut(&*display_name) {
                    entry.has_published = true;
                    view.apply(&entry.name, &entry.names, status);
                }
            }
            view.generation() > before
        });
    }

    async fn see(&mut self, slots: Vec<SlotStatus>) {
        let listed: Vec<_> = slots.iter().map(|slot| slot.display_name.clone()).collect();
        for slot in slots {
            let Some(entry) = self.entry(&slot.display_name) else { continue };
            if entry.reported.as_ref() != Some(&slot) {
                entry.reported = Some(slot.clone());
                entry.unplugged = false;
                entry.send(Event::Seen(slot)).await;
            }
        }
        let is_returning = self.back_since.is_some();
        for (display_name, entry) in &mut self.readers {
            if !listed.contains(display_name) && (entry.reported.is_some() || !is_returning) {
                entry.unplug().await;
            }
        }
    }

    async fn unplug(&mut self, condition: impl Fn(&Entry) -> bool) {
        for entry in self.readers.values_mut().filter(|entry| condition(entry)) {
            entry.unplug().await;
        }
    }

    /// Returns the reader's entry; creates it, with its actor, for a new reader.
    fn entry(&mut self, display_name: &str) -> Option<&mut Entry> {
        if !self.readers.contains_key(display_name) {
            let entry = self.new_entry(display_name)?;
            self.readers.insert(display_name.to_owned(), entry);
        }
        self.readers.get_mut(display_name)
    }

    fn new_entry(&mut self, display_name: &str) -> Option<Entry> {
        if self.readers.len() >= MAX_READERS {
            warn!(display_name, "reader not served: there are {MAX_READERS} readers already");
            return None;
        }
        let settings = (self.settings.reader)(display_name);
        let is_taken = |id: &str| self.readers.values().any(|entry| entry.names.id == id);
        let id = free_id(display_name, settings.alias.as_deref(), is_taken);
        // Random and not a sequence number, which would reveal readers that a caller may not see.
        let unique = match fresh_id() {
            Ok(unique) => unique,
            Err(error) => {
                error!(reader = %id, %error, "reader not served: the system cannot provide random bytes");
                return None;
            }
        };
        let (handle, requests) = ReaderHandle::new(self.settings.limits, self.shutdown.clone());
        let setup = ReaderSetup {
            identity: format!("{}-{unique}", self.settings.epoch),
            settings,
            limits: self.settings.limits,
            turns: self.settings.turns,
            policy: self.settings.policy.clone(),
            slot: self.backend.slot(display_name),
            publisher: self.statuses.publisher(display_name),
            turns_moved: self.settings.turns_moved.clone(),
            requests,
            shutdown: self.shutdown.clone(),
            id: id.clone(),
        };
        info!(reader = %id, display_name, "reader found");
        let events = match reader::spawn(setup, &self.actors) {
            Ok(events) => events,
            Err(error) => {
                error!(reader = %id, %error, "reader not served: its card thread could not start");
                return None;
            }
        };
        let name = Arc::<str>::from(format!("readers/{id}"));
        self.routes.send_modify(|routes| drop(Arc::make_mut(routes).insert(Arc::clone(&name), handle)));
        let names = Arc::new(ReaderNames { id, display_name: display_name.to_owned() });
        let publisher = self.statuses.publisher(display_name);
        Some(Entry { name, names, events, publisher, reported: None, unplugged: false, has_published: false })
    }
}

impl Entry {
    async fn unplug(&mut self) {
        if !self.unplugged {
            self.unplugged = true;
            self.reported = None;
            if self.events.send(Event::Unplugged).await.is_err() {
                self.publisher.publish(None);
            }
        }
    }

    /// The actor receives events until it ends; later ones are not needed.
    async fn send(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests;
