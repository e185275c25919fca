//! Virtual cards: the simulated card, plugged into a real pcscd through the vsmartcard driver (vpcd).
//!
//! The driver tells a card apart by its connection: connecting is insertion, closing is removal. It reports every broken
//! exchange as a success with no bytes, so a transport fault is acted out by closing and connecting again with the same card.

mod life;
mod link;
pub mod piv;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::simulated_card::CardOptions;
use cardbroker_server::backend::simulated::Bay;

use link::Link;

/// How many command headers are kept; later ones are only counted.
const MOST_HEADERS: usize = 65_536;

/// How long an insertion may take until the driver's port accepts it.
const INSERTION_TIME: Duration = Duration::from_secs(20);

/// A slot of the driver with a card in it, or without. A thread of its own is the card; dropping takes it out. When pcscd is
/// restarted, the card is in the reader again, as a real one would be.
pub struct VirtualCard {
    place: Arc<Place>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the cards in one slot have seen so far.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Commands that reached a card.
    pub commands: u64,
    /// The same by instruction byte.
    pub by_instruction: [u64; 256],
    /// The first four bytes of the commands in order, of the first 65,536.
    pub headers: Vec<[u8; 4]>,
    /// Resets, power-on included.
    pub resets: u64,
    /// How often the driver cut the card's power, as it does before a cold reset.
    pub power_offs: u64,
    /// Whether a command waits now because of [`VirtualCard::hang_next`].
    pub hanging: bool,
}

impl Seen {
    fn command(&mut self, command: &[u8]) {
        self.commands += 1;
        if let Some(header @ [_, instruction, ..]) = command.first_chunk::<4>() {
            self.by_instruction[usize::from(*instruction)] += 1;
            if self.headers.len() < MOST_HEADERS {
                self.headers.push(*header);
            }
        }
    }
}

impl VirtualCard {
    /// Puts a card into the slot whose driver listens on `port`, and waits until the driver's port has taken it. The driver
    /// itself notices by a poll, up to 400 ms later.
    ///
    /// # Errors
    /// Nothing listens on `port` for 20 s, or the system grants no thread.
    pub fn insert(port: u16, card: CardOptions) -> anyhow::Result<Self> {
        let place = Arc::new(Place::new(card));
        let thread = {
            let place = Arc::clone(&place);
            thread::Builder::new().name(format!("card-{port}")).spawn(move || life::live(&place, port))?
        };
        let virtual_card = Self { place, thread: Some(thread) };
        let connected = virtual_card.place.wait(INSERTION_TIME, |state| state.link.is_some());
        anyhow::ensure!(connected, "no driver of a virtual reader listens on port {port}");
        Ok(virtual_card)
    }

    /// Takes the card out. The connection is closed when this returns.
    pub fn pull(&self) {
        self.place.change(|state| {
            state.bay.remove();
            state.unplug();
        });
    }

    /// Takes the card out, if there is one, and puts another one in at once.
    pub fn swap(&self, card: CardOptions) {
        self.place.change(|state| {
            state.bay.insert(card);
            state.unplug();
        });
    }

    /// Lets the next command wait for its answer until [`VirtualCard::resume`], at most `time`. It runs when it arrives.
    pub fn hang_next(&self, time: Duration) {
        self.place.change(|state| state.hang = Some(time));
    }

    /// Ends a hang, or the plan for one.
    pub fn resume(&self) {
        self.place.change(|state| (state.hang, state.seen.hanging) = (None, false));
    }

    /// What the cards in this slot have seen so far.
    pub fn seen(&self) -> Seen {
        self.place.lock().seen.clone()
    }

    /// How many commands reached a card in this slot.
    pub fn commands_seen(&self) -> u64 {
        self.place.lock().seen.commands
    }

    /// How often a card in this slot was reset or powered on.
    pub fn resets_seen(&self) -> u64 {
        self.place.lock().seen.resets
    }

    /// Waits until what the cards have seen is as wished, at most `timeout`; true if it is.
    pub fn wait_until(&self, timeout: Duration, mut wished: impl FnMut(&Seen) -> bool) -> bool {
        self.place.wait(timeout, |state| wished(&state.seen))
    }
}

impl Drop for VirtualCard {
    fn drop(&mut self) {
        self.place.change(|state| {
            state.closed = true;
            state.bay.remove();
            state.unplug();
        });
        if let Some(thread) = self.thread.take() {
            // A panic of the card's thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// The slot, shared by the card's thread and the test's hand.
struct Place {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bay: Bay,
    /// The connection to the driver while there is one, to close it from outside.
    link: Option<Link>,
    hang: Option<Duration>,
    seen: Seen,
    /// The test is over.
    closed: bool,
}

impl State {
    fn unplug(&mut self) {
        if let Some(link) = self.link.take() {
            link.close();
        }
        self.seen.hanging = false;
    }
}

impl Place {
    fn new(card: CardOptions) -> Self {
        let seen = Seen {
            commands: 0,
            by_instruction: [0; 256],
            headers: Vec::new(),
            resets: 0,
            power_offs: 0,
            hanging: false,
        };
        let state = State { bay: Bay::new(card), link: None, hang: None, seen, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `done`, at most `timeout`, while cards come and go as planned; true if `done`.
    fn wait(&self, timeout: Duration, mut done: impl FnMut(&mut State) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.bay.advance(now);
            if done(&mut state) {
                return true;
            }
            if now >= deadline {
                return false;
            }
            let wake = state.bay.next_event().map_or(deadline, |due| due.min(deadline));
            let left = wake.saturating_duration_since(now);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
