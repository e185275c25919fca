//! The registry: which readers there are. A task that owns the readers' ids and actors, hears of readers from the
//! monitor thread and of their states from the actors, and alone writes the view, which is what clients may see.

mod ids;
mod monitor;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    policy::ReaderNames,
    slot::{ServiceError, SlotStatus},
    turns::queue::Limits,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
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
    reader::{self, Event, LatestStatuses, ReaderHandle, ReaderSetup, Statuses, TurnsMoved},
};

/// The most readers that are served.
pub const MAX_READERS: usize = 4096;

/// How long the start waits for the first look: a card stack that hangs must not keep the broker from answering, nor from stopping.
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a reader may be missing after the card stack came back before it counts as unplugged: drivers take their time.
const RETURN_TIME: Duration = Duration::from_secs(5);

/// The ways to the readers' actors, by the readers' names (`readers/{id}`). A reader keeps its own while it is unplugged.
pub type Routes = BTreeMap<Arc<str>, ReaderHandle>;

/// What the registry tells of the readers, always the latest. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    /// What clients may see.
    pub view: watch::Receiver<Arc<View>>,
    /// Where their requests go. Each reader of the view is there.
    pub routes: watch::Receiver<Arc<Routes>>,
}

/// What the registry needs to know.
pub struct RegistrySettings {
    /// What the configuration says about the reader of that display name.
    pub reader: Box<dyn Fn(&str) -> ReaderSettings + Send>,
    /// What callers may do.
    pub policy: PolicyInForce,
    /// How many requests may wait at one reader.
    pub limits: Limits,
    /// How long a session may go on while others wait.
    pub max_contended_lease: Duration,
    /// Where those hear of changes who follow turns.
    pub turns_moved: TurnsMoved,
    /// Unique to this run of the broker.
    pub epoch: String,
}

struct Registry {
    backend: Arc<dyn Backend>,
    settings: RegistrySettings,
    view: watch::Sender<Arc<View>>,
    routes: watch::Sender<Arc<Routes>>,
    /// Where the actors publish, by the readers' display names.
    statuses: Statuses,
    shutdown: CancellationToken,
    /// By display name; kept while the broker runs, so that a reader that comes back has its name again.
    readers: HashMap<String, Entry>,
    actors: JoinSet<()>,
    /// Since when the stack is back; readers may be missing for a while after that.
    back_since: Option<Instant>,
    down_because: Option<ServiceError>,
}

struct Entry {
    /// `readers/{id}`.
    name: Arc<str>,
    names: Arc<ReaderNames>,
    events: mpsc::Sender<Event>,
    /// What the actor knows; `None` after it was told that the stack is down or the reader gone.
    told: Option<SlotStatus>,
    unplugged: bool,
    /// The actor has published a status since the start.
    has_published: bool,
}

/// Starts monitor and registry, and waits a while for the first look at the readers (a stack that is down counts). The task ends after
/// `shutdown` with all readers' actors.
///
/// # Errors
/// If the system has no thread to give.
pub async fn start(
    backend: Arc<dyn Backend>,
    settings: RegistrySettings,
    shutdown: CancellationToken,
) -> io::Result<(Readers, tokio::task::JoinHandle<()>)> {
    let (snapshots, next_picture) = mpsc::channel(1);
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
        actors: JoinSet::new(),
        back_since: None,
        down_because: None,
    };
    let (looked, first_look) = oneshot::channel();
    let task = tokio::spawn(registry.run(next_picture, looked));
    // An error means that the shutdown came first.
    if timeout(FIRST_LOOK_TIMEOUT, first_look).await.is_err() {
        warn!("PC/SC takes our connection but does not answer: readers appear when it does");
    }
    Ok((Readers { view: views, routes: latest_routes }, task))
}

impl Registry {
    async fn run(mut self, mut snapshots: mpsc::Receiver<SlotSnapshot>, looked: oneshot::Sender<()>) {
        let mut looked = Some(looked);
        let (mut has_looked, mut is_monitored) = (false, true);
        let (shutdown, statuses) = (self.shutdown.clone(), self.statuses.clone());
        loop {
            let returned = self.back_since.map(|since| since + RETURN_TIME);
            tokio::select! {
                () = shutdown.cancelled() => break,
                snapshot = snapshots.recv(), if is_monitored => match snapshot {
                    Some(snapshot) => {
                        self.take_in(snapshot).await;
                        has_looked = true;
                    }
                    None => {
                        error!("the monitor thread has ended: readers are no longer followed");
                        is_monitored = false;
                    }
                },
                latest = statuses.take() => self.apply(latest),
                () = sleep_until(returned.unwrap_or_else(Instant::now).into()), if returned.is_some() => {
                    self.back_since = None;
                    self.unplug(|entry| entry.told.is_none()).await;
                }
            }
            // The first look counts when the view shows what it has found.
            let is_shown = |entry: &Entry| entry.told.is_none() || entry.has_published;
            if let Some(looked) = looked.take_if(|_| has_looked && self.readers.values().all(is_shown)) {
                // Nobody listens if the start was given up.
                let _ = looked.send(());
            }
        }
        while self.actors.join_next().await.is_some() {}
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
                    entry.told = None;
                    entry.tell(Event::Unavailable(because.to_string())).await;
                }
                self.back_since = None;
                self.down_because = Some(because);
            }
        }
    }

    /// Puts what the actors have published into the view, and wakes the watchers if something has changed.
    fn apply(&mut self, latest: LatestStatuses) {
        self.view.send_if_modified(|view| {
            let before = view.generation();
            // Copies nothing unless somebody is looking: watchers keep generations, not views.
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
            if entry.told.as_ref() != Some(&slot) {
                entry.told = Some(slot.clone());
                entry.unplugged = false;
                entry.tell(Event::Seen(slot)).await;
            }
        }
        let is_returning = self.back_since.is_some();
        for (display_name, entry) in &mut self.readers {
            if !listed.contains(display_name) && (entry.told.is_some() || !is_returning) {
                entry.unplug().await;
            }
        }
    }

    async fn unplug(&mut self, condition: impl Fn(&Entry) -> bool) {
        for entry in self.readers.values_mut().filter(|entry| condition(entry)) {
            entry.unplug().await;
        }
    }

    /// The reader's entry; a new one, with its actor, for a reader that was never seen.
    fn entry(&mut self, display_name: &str) -> Option<&mut Entry> {
        if !self.readers.contains_key(display_name) {
            let entry = self.new_entry(display_name)?;
            self.readers.insert(display_name.to_owned(), entry);
        }
        self.readers.get_mut(display_name)
    }

    fn new_entry(&mut self, display_name: &str) -> Option<Entry> {
        if self.readers.len() >= MAX_READERS {
            warn!(reader = display_name, "not served: there are {MAX_READERS} readers already");
            return None;
        }
        let settings = (self.settings.reader)(display_name);
        let is_taken = |id: &str| self.readers.values().any(|entry| entry.names.id == id);
        let id = free_id(display_name, settings.alias.as_deref(), is_taken);
        let (handle, requests) = ReaderHandle::new(self.settings.limits);
        let setup = ReaderSetup {
            // Not a number in order, which would tell of readers that some may not see.
            identity: format!("{}-{:016x}", self.settings.epoch, RandomState::new().hash_one(&id)),
            settings,
            limits: self.settings.limits,
            max_contended_lease: self.settings.max_contended_lease,
            policy: self.settings.policy.clone(),
            slot: self.backend.slot(display_name),
            publisher: self.statuses.publisher(display_name),
            turns_moved: self.settings.turns_moved.clone(),
            requests,
            shutdown: self.shutdown.clone(),
            id: id.clone(),
        };
        info!(reader = %id, display_name, "reader found");
        let events = match reader::spawn(setup, &mut self.actors) {
            Ok(events) => events,
            Err(error) => {
                error!(reader = %id, %error, "not served: no thread for it");
                return None;
            }
        };
        let name = Arc::<str>::from(format!("readers/{id}"));
        self.routes.send_modify(|routes| drop(Arc::make_mut(routes).insert(Arc::clone(&name), handle)));
        let names = Arc::new(ReaderNames { id, display_name: display_name.to_owned() });
        Some(Entry { name, names, events, told: None, unplugged: false, has_published: false })
    }
}

impl Entry {
    async fn unplug(&mut self) {
        if !self.unplugged {
            self.unplugged = true;
            self.told = None;
            self.tell(Event::Unplugged).await;
        }
    }

    /// An actor hears until the shutdown, and then no longer needs to.
    async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests;
