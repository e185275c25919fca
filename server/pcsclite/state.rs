//! The state that the connections of a door share: contexts, processes and handles. Each call is short and waits for
//! nothing.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardbroker_core::{
    caller::{Caller, CallerKey, Identity, Principal},
    pcsclite::{
        code::Code,
        handles::{Connected, HandleLimits, Handles},
        reader_states::{ReaderStates, SeenReader},
    },
    turns::places::Places,
};
use tokio::sync::watch;

use crate::{broker::ReaderList, process::random};

/// Maximum contexts of all users, and of one user.
const CONTEXTS: [u64; 2] = [512, 128];
/// Maximum handles of all users, and of one user.
const HANDLES: HandleLimits = HandleLimits { total: 2048, per_user: 512 };

/// The shared state of a door.
pub(super) struct DoorState(Mutex<Inner>);

struct Inner {
    handles: Handles<Principal>,
    /// The contexts of all connections, by their numbers.
    contexts: HashMap<u32, Context>,
    /// The places of contexts that users have taken.
    places: Places<Principal>,
    /// The processes with a connection.
    processes: HashMap<ProcessKey, Process>,
    /// The number of the latest process.
    last_process: u64,
}

/// A process with the identity of its connections, by which it sees readers.
type ProcessKey = (CallerKey, Identity);

/// A process with a connection. All its contexts see the same readers: a client library keeps one array for all.
struct Process {
    number: u64,
    connections: usize,
    states: ReaderStates,
    /// The revision of `states`, for the connections that wait for a change.
    changed: watch::Sender<u64>,
    /// Wakes the connections when a handle of the process keeps a turn from now on.
    kept: watch::Sender<()>,
}

struct Context {
    user: Principal,
    process: ProcessKey,
    /// Changes when the wait of the context is cancelled.
    cancelled: watch::Sender<()>,
}

/// A connection's membership of its process. Dropping it leaves.
pub(super) struct Member {
    state: Arc<DoorState>,
    key: ProcessKey,
    /// The number of the process.
    pub(super) process: u64,
    /// The revision of the process's readers, now and after each change.
    pub(super) changed: watch::Receiver<u64>,
    /// Changes when a handle of the process keeps a turn from now on.
    pub(super) kept: watch::Receiver<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Some(process) = state.processes.get_mut(&self.key) {
            process.connections -= 1;
            if process.connections == 0 {
                state.processes.remove(&self.key);
            }
        }
    }
}

/// The bytes of a process's readers, and their revision.
pub(super) struct ReaderArray {
    pub(super) array: Vec<u8>,
    pub(super) revision: u64,
}

impl DoorState {
    pub(super) fn new() -> Arc<Self> {
        let places = Places::with_per_user(CONTEXTS[0], CONTEXTS[1]);
        Arc::new(Self(Mutex::new(Inner {
            handles: Handles::new(HANDLES),
            contexts: HashMap::new(),
            places,
            processes: HashMap::new(),
            last_process: 0,
        })))
    }

    /// No caller leaves the state half-changed, so a panic elsewhere does no harm to it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection of `caller` among those of its process.
    pub(super) fn enter(self: &Arc<Self>, caller: &Caller) -> Member {
        let mut state = self.lock();
        let key = (caller.key, caller.identity.clone());
        let next = state.last_process + 1;
        let process = state.processes.entry(key.clone()).or_insert_with(|| Process {
            number: next,
            connections: 0,
            states: ReaderStates::default(),
            changed: watch::Sender::new(0),
            kept: watch::Sender::new(()),
        });
        process.connections += 1;
        let (changed, kept) = (process.changed.subscribe(), process.kept.subscribe());
        let process = process.number;
        state.last_process = state.last_process.max(process);
        Member { state: Arc::clone(self), key, process, changed, kept }
    }

    /// Creates a context. Returns its number, and what changes when its wait is cancelled.
    ///
    /// # Errors
    /// [`Code::NO_MEMORY`] if there are too many.
    pub(super) fn establish(&self, member: &Member, user: &Principal) -> Result<(u32, watch::Receiver<()>), Code> {
        let mut state = self.lock();
        let number = free_number(|number| state.contexts.contains_key(&number)).map_err(|_| Code::NO_MEMORY)?;
        state.places.take(user.clone(), 1).map_err(|_| Code::NO_MEMORY)?;
        let (cancelled, is_cancelled) = watch::channel(());
        state.contexts.insert(number, Context { user: user.clone(), process: member.key.clone(), cancelled });
        Ok((number, is_cancelled))
    }

    /// Removes a context, whose handles are disconnected.
    pub(super) fn release(&self, context: u32) {
        let mut state = self.lock();
        if let Some(context) = state.contexts.remove(&context) {
            state.places.give_back(context.user, 1);
        }
    }

    /// Cancels the wait of a context of the same process. No process may that is certain to be another one.
    pub(super) fn cancel(&self, member: &Member, context: u32) -> Code {
        match self.lock().contexts.get(&context) {
            Some(context) if may_be_one(&context.process, &member.key) => {
                context.cancelled.send_replace(());
                Code::SUCCESS
            }
            _ => Code::INVALID_HANDLE,
        }
    }

    /// Calls `call` with the handles of all connections.
    pub(super) fn handles<T>(&self, call: impl FnOnce(&mut Handles<Principal>) -> T) -> T {
        call(&mut self.lock().handles)
    }

    /// Connects a new handle, and returns its number.
    pub(super) fn connect(&self, at: Connected<Principal>) -> Result<u32, Code> {
        let mut state = self.lock();
        let handles = &mut state.handles;
        let id = free_number(|number| handles.contains(number)).map_err(|_| Code::NO_MEMORY)?;
        handles.connect(id, at)?;
        Ok(id)
    }

    /// Shows the process these readers from now on. Wakes its connections if something has changed.
    pub(super) fn refresh(&self, member: &Member, readers: &ReaderList) {
        let mut state = self.lock();
        let Inner { handles, processes, .. } = &mut *state;
        let Some(process) = processes.get_mut(&member.key) else { return };
        let seen = readers.iter().map(|reader| SeenReader {
            id: &reader.name,
            name: &reader.names.display_name,
            status: &reader.status,
            sharing: handles.sharing(member.process, &reader.name),
            protocol: handles.protocol(member.process, &reader.name, &reader.status.insertion_id),
        });
        if process.states.update(seen, readers.moves()) {
            process.changed.send_replace(process.states.revision());
        }
    }

    /// Tells the other connections of the process that one of its handles keeps a turn from now on.
    pub(super) fn keep(&self, member: &Member) {
        if let Some(process) = self.lock().processes.get(&member.key) {
            process.kept.send_replace(());
        }
    }

    /// Tells the process at the next refresh that the card of `reader` was taken out and inserted again.
    pub(super) fn reinsert(&self, member: &Member, reader: &Arc<str>) {
        if let Some(process) = self.lock().processes.get_mut(&member.key) {
            process.states.reinsert(reader);
        }
    }

    /// The first `elements` elements of the process's readers.
    pub(super) fn shown(&self, member: &Member, elements: usize) -> ReaderArray {
        let state = self.lock();
        let states = state.processes.get(&member.key).map(|process| &process.states);
        ReaderArray {
            array: states.map_or_else(Vec::new, |states| states.array(elements)),
            revision: states.map_or(0, ReaderStates::revision),
        }
    }

    /// The counter of readers that came or went for the process.
    pub(super) fn events(&self, member: &Member) -> u16 {
        self.lock().processes.get(&member.key).map_or(1, |process| process.states.events())
    }

    /// The broker's name of the reader that the process knows as `name`.
    pub(super) fn reader(&self, member: &Member, name: &str) -> Option<Arc<str>> {
        self.lock().processes.get(&member.key)?.states.id(name).cloned()
    }
}

/// Whether two connections may be of one process: where the system does not tell the process of one of them, all
/// connections of the same known user may. A client library cancels on a connection of its own.
fn may_be_one(one: &ProcessKey, other: &ProcessKey) -> bool {
    let is_certain = [one, other].iter().all(|(key, _)| matches!(key, CallerKey::Process { .. }));
    let [user, of_other] = [one, other].map(|(_, identity)| identity.principal());
    one == other || !is_certain && user == of_other && user != Principal::Unknown
}

/// A random number that is not taken yet.
fn free_number(is_taken: impl Fn(u32) -> bool) -> io::Result<u32> {
    loop {
        let number = random::number()?;
        if !is_taken(number) {
            return Ok(number);
        }
    }
}
