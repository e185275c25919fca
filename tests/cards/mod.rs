//! Virtual cards: the simulated card, inserted into a real pcscd through the vsmartcard driver (vpcd).
//!
//! The driver identifies a card by its connection: connecting is insertion, closing is removal. It reports every broken
//! exchange as a success with no bytes, so a transport fault is simulated by closing and connecting again with the same
//! card.

mod life;
mod link;
pub mod openpgp;
pub mod piv;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::simulated_card::CardOptions;
use cardbroker_server::backend::simulated::Bay;

use link::Link;

/// The maximum number of recorded command headers; later ones are only counted.
const MOST_HEADERS: usize = 65_536;

/// How long the driver's port may take to accept an insertion.
const INSERTION_TIME: Duration = Duration::from_secs(20);

/// A slot of the driver, with or without a card. A thread of its own simulates the card; dropping removes it. When
/// pcscd is restarted, the card is in the reader again, like a real one.
pub struct VirtualCard {
    place: Arc<Place>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The record of all cards in one slot.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of commands that reached a card.
    pub commands: u64,
    /// The number of commands by instruction byte.
    pub by_instruction: [u64; 256],
    /// The first four bytes of the commands in order, of the first 65,536.
    pub headers: Vec<[u8; 4]>,
    /// The number of resets, power-on included.
    pub resets: u64,
    /// The number of times that the driver cut the card's power, as it does before a cold reset.
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
    /// Inserts a card into the slot whose driver listens on `port`, and waits until the driver's port has accepted it.
    /// The driver itself notices by a poll, up to 400 ms later.
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

    /// Removes the card. The connection is closed when this returns.
    pub fn pull(&self) {
        self.place.change(|state| {
            state.bay.remove();
            state.unplug();
        });
    }

    /// Removes the card, if there is one, and inserts another one at once.
    pub fn swap(&self, card: CardOptions) {
        self.place.change(|state| {
            state.bay.insert(card);
            state.unplug();
        });
    }

    /// Delays the answer to the next command until [`VirtualCard::resume`], at most `time`. The command runs when it
    /// arrives.
    pub fn hang_next(&self, time: Duration) {
        self.place.change(|state| state.hang = Some(time));
    }

    /// Ends a hang, or the plan for one.
    pub fn resume(&self) {
        self.place.change(|state| (state.hang, state.seen.hanging) = (None, false));
    }

    /// The record of the cards in this slot so far.
    pub fn seen(&self) -> Seen {
        self.place.lock().seen.clone()
    }

    /// The number of commands that reached a card in this slot.
    pub fn commands_seen(&self) -> u64 {
        self.place.lock().seen.commands
    }

    /// The number of resets and power-ons of cards in this slot.
    pub fn resets_seen(&self) -> u64 {
        self.place.lock().seen.resets
    }

    /// Waits until the record of the cards fits `wished`, at most `timeout`; true if it does.
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
            // A panic of the card's thread has already been printed.
            let _ = thread.join();
        }
    }
}

/// The slot, shared by the card's thread and the test.
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
    /// Set when the test is over.
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
