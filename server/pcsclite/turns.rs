//! The turns of one connection's handles: waiting, in use, or resting.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cardbroker_core::{
    error::Failure,
    pcsclite::{handles::Share, rest},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep_until;

use crate::reader::session::{Opening, OpeningEvent, Session, SessionEvent, SessionOver};

/// The maximum time that a request is held for its turn.
pub(super) const HOLD: Duration = Duration::from_secs(1);
/// The turns in a row that a client may miss. The last one ends its wait.
pub(super) const MAX_MISSES: u32 = 3;

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
    /// The end of the last call of the handle.
    since: Instant,
    /// Since when an answer or a chain has been open at the end of each call; `None` if the last one has left none.
    pair_since: Option<Instant>,
    /// Since when other programs have waited; `None` if none does. The broker has a limit of its own, at most as long,
    /// for those of other isolation groups.
    wanted_since: Option<Instant>,
    /// How the handle uses the turn between its calls.
    pub(super) phase: Phase,
}

/// The use of a turn between two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handle is exclusive, or in a transaction.
    Kept {
        /// The share mode of the handle, on which the limits depend.
        share: Share,
        /// The turn ends after so long without a call; `None` for never.
        idle: Option<Duration>,
        /// The turn ends after so long while others of the same isolation group wait.
        wanted: Duration,
    },
    /// The handle may come back. `has_news`: it was told of a reset or a removal.
    Resting { has_news: bool },
    /// The turn came while the client was away. Has the number of turns that it has missed before.
    Awaited(u32),
}

/// A limit of a turn that a handle keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The time without a call. The card must be given back.
    Idle,
    /// The time while others wait, which share the card's security state.
    OwnGroup,
}

/// Something that happened to a turn between the calls of its handle.
pub(super) enum Event {
    /// The turn has come, while the client was away.
    Begun(Box<Session>, u32),
    /// There will be no turn. The next call requests another one, or gets the reason.
    Refused,
    /// The rest of the turn is over.
    Rested,
    /// The client has missed its turn. Has the number of turns that it has missed in a row.
    Missed(u32),
    /// The handle has kept the turn for longer than this limit allows.
    TooLong(Limit),
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
        let mut held = Self { session, selection, since: Instant::now(), pair_since: None, wanted_since: None, phase };
        held.see_waiters();
        held
    }

    fn see_waiters(&mut self) {
        let is_wanted = self.session.waiters() > 0;
        self.wanted_since = is_wanted.then(|| self.wanted_since.unwrap_or_else(Instant::now));
    }

    /// A call of the handle has ended.
    pub(super) fn on_call_over(&mut self, phase: Phase) {
        (self.since, self.phase) = (Instant::now(), phase);
        self.pair_since = self.session.is_pair_open().then(|| self.pair_since.unwrap_or(self.since));
        self.see_waiters();
    }

    /// The time at which the turn ends unless the handle comes back before; `None` if it does not end by itself.
    fn end(&self) -> Option<Instant> {
        match self.phase {
            Phase::Kept { idle, wanted, .. } => {
                [self.idle_end(idle), self.wanted_end(wanted)].into_iter().flatten().min()
            }
            Phase::Awaited(_) => Some(self.since + rest::PICK_UP),
            Phase::Resting { has_news } => {
                let marks = self.session.marks();
                let rest = rest::Rest {
                    began: self.session.turn().began,
                    since: self.since,
                    is_wanted: self.session.waiters() > 0,
                    is_costly: marks.is_raised() && self.session.others_wait() || marks.selection() != self.selection,
                    pair_since: self.pair_since,
                    has_news,
                };
                Some(rest.end())
            }
        }
    }

    fn idle_end(&self, idle: Option<Duration>) -> Option<Instant> {
        idle.map(|idle| self.since + idle)
    }

    /// An answer or a chain that is open is completed first.
    fn wanted_end(&self, wanted: Duration) -> Option<Instant> {
        let pair = self.pair_since.map(|opened| (self.since + rest::OPEN_PAIR).min(opened + rest::PAIRS));
        self.wanted_since.map(|since| pair.map_or(since + wanted, |pair| pair.max(since + wanted)))
    }

    /// Whether the turn rests and is due to end. A timer would notice up to 1 ms later, when the handle has come back.
    pub(super) fn is_rest_over(&self) -> bool {
        matches!(self.phase, Phase::Resting { .. }) && self.end().is_some_and(|end| end <= Instant::now())
    }

    /// The limit that the handle has exceeded by keeping the turn. As with a rest, a timer notices late.
    pub(super) fn exceeded(&self) -> Option<Limit> {
        let Phase::Kept { idle, wanted, .. } = self.phase else { return None };
        let now = Instant::now();
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        match () {
            () if is_over(self.idle_end(idle)) => Some(Limit::Idle),
            () if is_over(self.wanted_end(wanted)) => Some(Limit::OwnGroup),
            () => None,
        }
    }

    /// Waits for an event. Cancel-safe.
    async fn next(&mut self) -> Event {
        loop {
            let end = self.end();
            let ends = async {
                match end {
                    Some(end) => sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                news = self.session.news() => match news {
                    SessionEvent::Over(over) => return Event::Over(over),
                    // The end of the turn depends on them.
                    SessionEvent::Waiters(_) => self.see_waiters(),
                },
                () = ends => return match self.phase {
                    Phase::Kept { .. } => Event::TooLong(self.exceeded().unwrap_or(Limit::Idle)),
                    Phase::Resting { .. } => Event::Rested,
                    Phase::Awaited(misses) => Event::Missed(misses + 1),
                },
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
