//! The registry: which readers there are. A task that owns the readers' ids and actors, fed by the monitor thread; what clients may see
//! of it is the view.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    slot::{ServiceError, SlotStatus},
    status::ReaderStatus,
    turns::queue::Limits,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    backend::{Backend, Monitor},
    config::ReaderSettings,
    policy::{ReaderNames, access::PolicyInForce},
    reader::{self, Event, ReaderHandle, ReaderSetup, TurnsMoved},
};

/// The most readers that are served.
pub const MAX_READERS: usize = 4096;

/// The longest a monitor looks without a word.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the start waits for the first look: a card stack that hangs must not keep the broker from answering, nor from stopping.
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// The wait between two tries to reach a card stack that is down.
const DOWN_RETRY: Duration = Duration::from_millis(200);
/// How long a reader may be missing after the card stack came back before it counts as unplugged: drivers take their time.
const RETURN_TIME: Duration = Duration::from_secs(5);

/// A reader as clients see it.
#[derive(Clone)]
pub struct ReaderView {
    /// `readers/{id}`.
    pub name: String,
    /// The names that the policy knows it by.
    pub names: Arc<ReaderNames>,
    /// Its state.
    pub status: ReaderStatus,
    /// Asks it for turns.
    pub handle: ReaderHandle,
}

/// All readers by name. A value is replaced, never changed, so two views can be compared by pointer.
pub type View = BTreeMap<String, Arc<ReaderView>>;

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

type SlotSnapshot = Result<Vec<SlotStatus>, ServiceError>;

struct Registry {
    backend: Arc<dyn Backend>,
    settings: RegistrySettings,
    view: watch::Sender<Arc<View>>,
    shutdown: CancellationToken,
    /// By display name; kept while the broker runs, so that a reader that comes back has its name again.
    readers: HashMap<String, Entry>,
    actors: JoinSet<()>,
    /// Since when the stack is back; readers may be missing for a while after that.
    back_since: Option<Instant>,
    down_because: Option<ServiceError>,
}

struct Entry {
    id: String,
    events: mpsc::Sender<Event>,
    /// What the actor knows; `None` after it was told that the stack is down or the reader gone.
    told: Option<SlotStatus>,
    unplugged: bool,
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
) -> io::Result<(watch::Receiver<Arc<View>>, tokio::task::JoinHandle<()>)> {
    let (snapshots, next_picture) = mpsc::channel(1);
    let monitor = backend.monitor();
    thread::Builder::new().name("monitor".into()).spawn(move || watch_slots(monitor, &snapshots))?;

    let (view, views) = watch::channel(Arc::default());
    let registry = Registry {
        backend,
        settings,
        view,
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
    Ok((views, task))
}

/// The life of the monitor thread: it ends when nobody listens any more.
fn watch_slots(mut monitor: Box<dyn Monitor>, snapshots: &mpsc::Sender<SlotSnapshot>) {
    let mut last = None;
    while !snapshots.is_closed() {
        let snapshot = monitor.wait(LOOK_TIMEOUT);
        let is_down = snapshot.is_err();
        if last.as_ref() != Some(&snapshot) {
            last = Some(snapshot.clone());
            if snapshots.blocking_send(snapshot).is_err() {
                return;
            }
        }
        if is_down {
            thread::sleep(DOWN_RETRY);
        }
    }
}

impl Registry {
    async fn run(mut self, mut snapshots: mpsc::Receiver<SlotSnapshot>, looked: oneshot::Sender<()>) {
        let mut looked = Some(looked);
        let shutdown = self.shutdown.clone();
        loop {
            let returned = self.back_since.map(|since| since + RETURN_TIME);
            tokio::select! {
                () = shutdown.cancelled() => break,
                snapshot = snapshots.recv() => match snapshot {
                    Some(snapshot) => self.take_in(snapshot).await,
                    None => {
                        error!("the monitor thread has ended: readers are no longer followed");
                        shutdown.cancelled().await;
                        break;
                    }
                },
                () = sleep_until(returned.unwrap_or_else(Instant::now).into()), if returned.is_some() => {
                    self.back_since = None;
                    self.unplug(|entry| entry.told.is_none()).await;
                }
            }
            if let Some(looked) = looked.take() {
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
        let id =
            free_id(display_name, settings.alias.as_deref(), |id| self.readers.values().any(|entry| entry.id == id));
        let (handle, requests) = ReaderHandle::new(self.settings.limits);
        let setup = ReaderSetup {
            // Not a number in order, which would tell of readers that some may not see.
            identity: format!("{}-{:016x}", self.settings.epoch, RandomState::new().hash_one(&id)),
            settings,
            limits: self.settings.limits,
            max_contended_lease: self.settings.max_contended_lease,
            policy: self.settings.policy.clone(),
            slot: self.backend.slot(display_name),
            publish: self.publisher(&id, display_name, handle),
            turns_moved: self.settings.turns_moved.clone(),
            requests,
            shutdown: self.shutdown.clone(),
            id: id.clone(),
        };
        info!(reader = %id, display_name, "reader found");
        match reader::spawn(setup, &mut self.actors) {
            Ok(events) => Some(Entry { id, events, told: None, unplugged: false }),
            Err(error) => {
                error!(reader = %id, %error, "not served: no thread for it");
                None
            }
        }
    }

    fn publisher(&self, id: &str, display_name: &str, handle: ReaderHandle) -> reader::Publish {
        let view = self.view.clone();
        let name = format!("readers/{id}");
        let names = Arc::new(ReaderNames { id: id.to_owned(), display_name: display_name.to_owned() });
        Box::new(move |status| {
            view.send_modify(|view| {
                let view = Arc::make_mut(view);
                match status {
                    Some(status) => {
                        let (names, handle) = (Arc::clone(&names), handle.clone());
                        let reader = ReaderView { name: name.clone(), names, status, handle };
                        view.insert(name.clone(), Arc::new(reader));
                    }
                    None => drop(view.remove(&name)),
                }
            });
        })
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

/// The id of a reader: the alias, or the display name in lower case with `-` for what is no letter or digit; then `-2`, `-3` … until it
/// is free.
fn free_id(display_name: &str, alias: Option<&str>, is_taken: impl Fn(&str) -> bool) -> String {
    let wanted = alias.map_or_else(|| id_of(display_name), str::to_owned);
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.clone()).chain(numbered).find(|id| !is_taken(id)).unwrap_or(wanted)
}

fn id_of(display_name: &str) -> String {
    let lower = display_name.to_ascii_lowercase();
    let words: Vec<_> =
        lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "reader".into() } else { words.join("-") }
}

#[cfg(test)]
mod tests;
