//! The turns of one connection's handles: waiting, in use, or resting.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::Failure,
    pcsclite::pause::{Expiry, Pause, Phase, Stakes},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep_until;

use crate::reader::session::{Opening, OpeningEvent, Session, SessionEvent, SessionOver};

/// The maximum time that a request is held for its turn.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// The turn of one handle.
pub(super) enum Turn {
    /// The handle waits for it. The client may be away, because it was told to ask again.
    Waiting(Waiting),
    /// The turn has come for the handle.
    Held(Box<Held>),
}

/// A place in the queue of a reader.
pub(super) struct Waiting {
    opening: Opening,
    /// The number of turns that came and went while the client was away.
    pub(super) misses: u32,
}

/// A turn that has come.
pub(super) struct Held {
    pub(super) session: Box<Session>,
    /// The selection at the beginning.
    selection: u64,
    /// The time since the last call of the handle.
    pause: Pause,
}

/// Something that happened to a turn between the calls of its handle.
pub(super) enum Event {
    /// The turn has come, while the client was away.
    Begun(Box<Session>, u32),
    /// There will be no turn. The next call requests another one, or gets the reason.
    Refused,
    /// The handle has not come back in time.
    Expired(Expiry),
    /// The broker has ended the turn.
    Over(SessionOver),
}

impl Waiting {
    pub(super) fn new(opening: Opening, misses: u32) -> Self {
        Self { opening, misses }
    }

    /// Waits for the turn. Cancel-safe.
    pub(super) async fn begun(&mut self) -> Result<Box<Session>, Failure> {
        loop {
            if let OpeningEvent::Begun(session) = self.opening.next().await? {
                return Ok(session);
            }
        }
    }
}

impl Held {
    pub(super) fn new(session: Box<Session>, phase: Phase) -> Self {
        let selection = session.marks().selection();
        let pause = Pause::new(phase, session.waiters() > 0, Instant::now());
        Self { session, selection, pause }
    }

    /// How the handle uses the turn between its calls.
    pub(super) fn phase(&self) -> Phase {
        self.pause.phase()
    }

    /// A call of the handle has ended.
    pub(super) fn on_call_over(&mut self, phase: Phase) {
        let (is_pair_open, is_wanted) = (self.session.is_pair_open(), self.session.waiters() > 0);
        self.pause.on_call_over(phase, is_pair_open, is_wanted, Instant::now());
    }

    fn stakes(&self) -> Stakes {
        let marks = self.session.marks();
        Stakes {
            began: self.session.turn().began,
            is_wanted: self.session.waiters() > 0,
            is_costly: marks.is_raised() && self.session.others_wait() || marks.selection() != self.selection,
        }
    }

    /// The reason for which the turn is due to end. A timer would notice up to 1 ms later, when the handle has come
    /// back.
    pub(super) fn expired(&self) -> Option<Expiry> {
        self.pause.expired(self.stakes(), Instant::now())
    }

    /// Waits for an event. Cancel-safe.
    async fn next(&mut self) -> Event {
        loop {
            let deadline = self.pause.deadline(self.stakes());
            let expires = async {
                match deadline {
                    Some((end, expiry)) => {
                        sleep_until(end.into()).await;
                        expiry
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                news = self.session.news() => match news {
                    SessionEvent::Over(over) => return Event::Over(over),
                    // The end of the turn depends on them.
                    SessionEvent::Waiters(_) => self.pause.on_waiters(self.session.waiters() > 0, Instant::now()),
                },
                expiry = expires => return Event::Expired(expiry),
            }
        }
    }
}

impl Turn {
    async fn next(&mut self) -> Event {
        match self {
            Self::Held(held) => held.next().await,
            Self::Waiting(waiting) => match waiting.begun().await {
                Ok(session) => Event::Begun(session, waiting.misses),
                Err(_) => Event::Refused,
            },
        }
    }
}

/// The turns of one connection, by handle.
#[derive(Default)]
pub(super) struct Turns(BTreeMap<u32, Turn>);

impl Turns {
    pub(super) fn put(&mut self, handle: u32, turn: Turn) {
        self.0.insert(handle, turn);
    }

    pub(super) fn take(&mut self, handle: u32) -> Option<Turn> {
        self.0.remove(&handle)
    }

    /// The turn that the handle has.
    pub(super) fn held(&mut self, handle: u32) -> Option<&mut Held> {
        match self.0.get_mut(&handle) {
            Some(Turn::Held(held)) => Some(held),
            _ => None,
        }
    }

    /// Whether the handle waits for its turn.
    pub(super) fn is_waiting(&self, handle: u32) -> bool {
        matches!(self.0.get(&handle), Some(Turn::Waiting(_)))
    }

    /// The handles with a turn, waiting or held.
    pub(super) fn handles(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    /// Waits for an event of any turn. Cancel-safe; pending without turns.
    pub(super) async fn next(&mut self) -> (u32, Event) {
        // Most connections have at most one turn, and wait for it several times in each call.
        if self.0.len() <= 1 {
            return match self.0.iter_mut().next() {
                Some((handle, turn)) => (*handle, turn.next().await),
                None => std::future::pending().await,
            };
        }
        let each = self.0.iter_mut().map(|(handle, turn)| async move { (*handle, turn.next().await) });
        let mut events = each.collect::<FuturesUnordered<_>>();
        match events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}
