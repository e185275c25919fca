//! When a connection is read, and how many bytes at a time: by the tokens of its user, and by the number of its
//! requests at once.
//!
//! ```text
//!             all tokens: at once      some: a part of them         none: at the user's next reading
//! ByTokens ───────────────┬────────────────────┴──────────────────▶ Waiting ──▶ Granted ─┐
//!    ▲                    ▼                                                       ▲       ▼
//!    └─── (Resting) ◀─ Judging ◀──────────────── nothing refused so far ──────────┴── Judging
//! ```

use std::{
    io,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::Duration,
};

use cardbroker_core::budget::Tokens;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    budgets::{Account, Counted, Slow},
    burst::{Burst, LONG_READING_BYTES, SHORT_READING_BYTES},
    peer::{Peer, Source},
};

/// The bytes that are read for each token: the shortest request has a frame's head and three indexed fields.
const BYTES_PER_TOKEN: usize = 12;

/// The bytes of the shortest reading: one or two requests.
const SHORTEST_READING_BYTES: usize = 32;

/// The bytes that a connection of a user without tokens may send at its time, unless a request in them is refused. The
/// first request of a good client fits into them, and so does the answer to a ping. A connection that has used them
/// without a refused request is read as fast as any, until a request of it is refused.
const GRANTED_BYTES: usize = 1_024;

/// The time between two readings of a user's only connection that sends more at once than its requests need.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// The same for a user without any permission, whose requests are worth little even if they are served.
const BURST_PAUSE_WITHOUT_RIGHTS: Duration = Duration::from_millis(10);
const LONGEST_BURST_PAUSE: Duration = Duration::from_millis(100);

/// The time for the answers to the last bad tokens, before the connection is closed.
const LAST_ANSWERS_TIME: Duration = Duration::from_millis(500);

/// The pace of one connection. Asked before each reading, and told its length.
#[derive(Debug)]
pub(super) struct Pace {
    state: State,
    burst: Burst,
    /// Counts the connection while it sends more at once than its requests need.
    bursting: Option<Counted>,
    /// The user that had all tokens at the last reading by tokens, or under which a grant was used without a refused
    /// request, and the refused requests of the connection until then; `None` for a new connection, so that it is read
    /// no faster than the one before it. While both stay the same, the connection is not slowed down: others of the
    /// user have sent the refused requests.
    settled: Option<(Account, usize)>,
    /// Counts the connection while it is read by the tokens of its user.
    slowed: Option<Counted>,
    /// Resolves when the client has presented too many bad tokens; `None` on the local socket.
    distrusted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Whether the connection may be read.
#[derive(Debug)]
enum State {
    /// As far as its user has tokens.
    ByTokens,
    /// At this time, which no other connection of its user has, because its user has no tokens.
    Waiting(Pin<Box<Sleep>>),
    /// A little, although its user has no tokens. So it gets the answers to its pings, a half-closed or dead one is
    /// noticed, and a new client can send its first request.
    Granted(Grant),
    /// Not before this time, because the client sends more at once than its requests need.
    Resting(Pin<Box<Sleep>>),
    /// Not before the requests of the last reading were judged: their tasks are behind this one in the runtime's queue.
    /// Then what is left of the grant may be read.
    Judging(Option<Grant>),
    /// Never again: the connection is closed at this time.
    Closing(Pin<Box<Sleep>>),
}

/// The bytes that may still be read until a request is refused.
#[derive(Debug, Clone, Copy)]
struct Grant {
    bytes: usize,
    /// The refused requests of the connection at the beginning.
    refused: usize,
    /// Whether it ends when a valid token tells the user.
    is_for_token: bool,
}

impl Grant {
    fn new(peer: &Peer, is_for_token: bool) -> Self {
        Self { bytes: GRANTED_BYTES, refused: peer.refused(), is_for_token }
    }

    /// Whether all its bytes were read, and no request in them was refused: the connection need not be slow.
    fn is_used_well(&self, peer: &Peer) -> bool {
        self.bytes == 0 && self.refused == peer.refused()
    }

    /// Whether it goes on after the requests so far were judged.
    fn goes_on(&self, peer: &Peer) -> bool {
        let is_known = self.is_for_token && *peer.account() != Account::WithoutToken;
        self.bytes > 0 && self.refused == peer.refused() && !is_known
    }
}

impl Pace {
    /// The pace of a new connection. On TCP its user is not known yet. If the budget of clients without a valid token
    /// is empty, it had to wait before it was accepted, and does not wait again for its first request.
    pub(super) fn new(peer: &Peer) -> Self {
        let is_on_tcp = matches!(peer.source, Source::Tcp { .. });
        let state = if is_on_tcp { State::Granted(Grant::new(peer, true)) } else { State::ByTokens };
        let distrusted = is_on_tcp.then(|| Box::pin(peer.status.distrusted.clone().cancelled_owned()));
        Self { state, burst: Burst::default(), bursting: None, settled: None, slowed: None, distrusted }
    }

    /// Waits until the connection may be read. Returns the maximum number of bytes.
    ///
    /// # Errors
    /// The client has presented too many bad tokens: the answers to them are on their way by now.
    pub(super) fn poll_limit(&mut self, peer: &Peer, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(distrusted) = &mut self.distrusted
            && distrusted.as_mut().poll(context).is_ready()
        {
            self.distrusted = None;
            self.state = State::Closing(Box::pin(sleep(LAST_ANSWERS_TIME)));
        }
        loop {
            match &mut self.state {
                State::ByTokens => match self.tokens(peer) {
                    Tokens::Full => return Poll::Ready(Ok(self.burst.limit(peer.received()))),
                    Tokens::Left(left) => return Poll::Ready(Ok(self.part_of(left))),
                    Tokens::Empty => {
                        let pause = peer.budgets.next_reading(&peer.account());
                        self.state = State::Waiting(Box::pin(sleep(pause)));
                    }
                },
                State::Waiting(time) => {
                    ready!(time.as_mut().poll(context));
                    self.state = State::Granted(Grant::new(peer, false));
                }
                State::Granted(grant) => return Poll::Ready(Ok(grant.bytes.min(SHORTEST_READING_BYTES))),
                State::Resting(rest) => {
                    ready!(rest.as_mut().poll(context));
                    self.state = State::ByTokens;
                }
                State::Judging(grant) => {
                    let grant = grant.take();
                    if grant.as_ref().is_some_and(|grant| grant.is_used_well(peer)) {
                        (self.settled, self.slowed) = (Some((peer.account().clone(), peer.refused())), None);
                    }
                    let rest = grant.filter(|grant| grant.goes_on(peer));
                    self.state = match (rest, self.burst_pause(peer)) {
                        (Some(rest), _) => State::Granted(rest),
                        (None, Some(pause)) => State::Resting(Box::pin(sleep(pause))),
                        (None, None) => State::ByTokens,
                    };
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Closing(time) => {
                    ready!(time.as_mut().poll(context));
                    tracing::debug!(source = %peer.source, "connection closed: too many bad tokens");
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        }
    }

    /// Records a reading of `read` bytes, whose limit was `limit`.
    pub(super) fn on_read(&mut self, peer: &Peer, limit: usize, read: usize) {
        self.burst.on_read(peer.received(), read);
        // A few bytes are one request, for which it is not worth to come back later.
        let is_judged_first = limit < LONG_READING_BYTES || read >= SHORT_READING_BYTES;
        self.state = match self.state {
            State::Granted(grant) => State::Judging(Some(Grant { bytes: grant.bytes.saturating_sub(read), ..grant })),
            _ if is_judged_first => State::Judging(None),
            _ => State::ByTokens,
        };
    }

    /// The tokens by which the connection is read: those of its user, if it is new or requests of its own were refused.
    fn tokens(&mut self, peer: &Peer) -> Tokens {
        let now = (peer.account().clone(), peer.refused());
        if self.settled.as_ref() == Some(&now) {
            return Tokens::Full;
        }
        let (account, refused) = now;
        let tokens = peer.budgets.tokens(&account);
        if tokens == Tokens::Full {
            (self.settled, self.slowed) = (Some((account, refused)), None);
        } else if self.slowed.as_ref().is_none_or(|slowed| !slowed.is_of(&account)) {
            self.slowed = Some(peer.budgets.count(Slow::Refused, account));
        }
        tokens
    }

    /// The maximum bytes of a reading: the tokens that are left are for all slow connections of the user.
    fn part_of(&self, left: u32) -> usize {
        let connections = self.slowed.as_ref().map_or(1, Counted::number);
        let bytes = BYTES_PER_TOKEN.saturating_mul(left as usize) / connections.max(1) as usize;
        bytes.clamp(SHORTEST_READING_BYTES, LONG_READING_BYTES)
    }

    /// Returns the time until the next reading, if the client sends more at once than its requests need: longer if the
    /// user has several such connections. So the thread, and the processor, are free for the requests of others.
    fn burst_pause(&mut self, peer: &Peer) -> Option<Duration> {
        if !self.burst.is_burst(peer.received()) {
            self.bursting = None;
            return None;
        }
        self.burst.rested();
        let bursting = self.bursting.get_or_insert_with(|| peer.budgets.count(Slow::Burst, peer.account().clone()));
        let is_without = peer.without_rights.load(Ordering::Relaxed);
        let pause = if is_without { BURST_PAUSE_WITHOUT_RIGHTS } else { BURST_PAUSE };
        Some((pause * bursting.number()).min(LONGEST_BURST_PAUSE))
    }
}
