//! Budgets for refused requests: a user has 200 tokens, and each refused request takes one. 20 tokens come back each
//! second. Without tokens, the connections of the user that had a refused request are read one after the other, 20
//! times a second all together. Work that was served takes no token. Pure; `now` is an argument.
//!
//! ```text
//! refused ──▶ charge: one token less ──▶ no token left: next_reading gives each connection its time
//!                  ▲                              │
//!                  └───── a few bytes are read ◀──┘
//! ```

pub mod fields;

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    time::{Duration, Instant},
};

/// The tokens that a user starts with: this many refused requests are read at full speed.
pub const BURST: u32 = 200;

/// The tokens that come back each second.
pub const PER_SECOND: u32 = 20;

/// The longest time for which a connection is not read, however many of them wait. By default it is shorter than the
/// time for the answer to a keep-alive ping, for the first request of a connection, and for a client's connecting.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The time in which one token comes back.
const INTERVAL: Duration = Duration::from_millis(1_000 / PER_SECOND as u64);

/// The most tokens that a user can be short of. More would only delay the recovery.
const MAX_DEBT: u32 = 40;

/// The users that have a bucket of their own at a time. All further ones share one.
const MAX_BUCKETS: usize = 1_024;

/// The time between two reports about the same user.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The tokens of a user at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// No request was refused for a while.
    Full,
    /// So many more refused requests are read at full speed: 1 to [`BURST`].
    Left(u32),
    /// None: the user's connections with refused requests wait for their [`Budgets::next_reading`].
    Empty,
}

/// The report about a user without tokens, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The requests that were refused since the last report, or since the bucket was full.
    pub refused: u64,
    /// The time of these requests.
    pub time: Duration,
}

/// The buckets of all users `K`. A user without a bucket has a full one.
#[derive(Debug)]
pub struct Budgets<K> {
    buckets: HashMap<K, Bucket>,
    /// The bucket of all users beyond [`MAX_BUCKETS`] together.
    further: Option<Bucket>,
    refused: u64,
    over_budget: u64,
    pauses: u64,
}

#[derive(Debug)]
struct Bucket {
    /// When the bucket is full again.
    full_at: Instant,
    /// The time of the last reading without a token that was given away.
    last_reading: Instant,
    /// The requests that were refused since `counted_from`.
    refused: u64,
    counted_from: Instant,
    /// When the last report was made; `None` before the first one.
    reported_at: Option<Instant>,
}

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Self { buckets: HashMap::new(), further: None, refused: 0, over_budget: 0, pauses: 0 }
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Charges a refused request of `user`. Returns a report if no token is left and none was made lately.
    pub fn charge(&mut self, user: K, now: Instant) -> Option<Report> {
        self.refused += 1;
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&user) {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        let new = || Bucket { full_at: now, last_reading: now, refused: 0, counted_from: now, reported_at: None };
        let has_room = self.buckets.len() < MAX_BUCKETS;
        let bucket = match self.buckets.entry(user) {
            Entry::Occupied(bucket) => bucket.into_mut(),
            Entry::Vacant(place) if has_room => place.insert(new()),
            Entry::Vacant(_) => self.further.get_or_insert_with(new),
        };
        if bucket.full_at <= now {
            *bucket = new();
        }
        let was_empty = bucket.tokens(now) == Tokens::Empty;
        bucket.full_at = (bucket.full_at + INTERVAL).min(now + (BURST + MAX_DEBT) * INTERVAL);
        bucket.refused += 1;
        let Tokens::Empty = bucket.tokens(now) else { return None };
        if was_empty {
            self.over_budget += 1;
        } else {
            self.pauses += 1;
        }
        let is_due = bucket.reported_at.is_none_or(|last| last + REPORT_INTERVAL <= now);
        is_due.then(|| bucket.report(now))
    }

    /// The tokens of `user` at the moment `now`.
    pub fn tokens(&self, user: &K, now: Instant) -> Tokens {
        let bucket = self.buckets.get(user).or_else(|| {
            let is_crowded = self.buckets.len() >= MAX_BUCKETS;
            self.further.as_ref().filter(|_| is_crowded)
        });
        bucket.map_or(Tokens::Full, |bucket| bucket.tokens(now))
    }

    /// Gives a connection of `user`, who has no token, the time of its next reading, and returns the time until then,
    /// at most [`LONGEST_PAUSE`]. Each call gives a time of its own: all connections of the user share the tokens that
    /// come back.
    pub fn next_reading(&mut self, user: &K, now: Instant) -> Duration {
        let Some(bucket) = self.buckets.get_mut(user).or(self.further.as_mut()) else { return Duration::ZERO };
        bucket.last_reading = (bucket.last_reading.max(now) + INTERVAL).min(now + LONGEST_PAUSE);
        bucket.last_reading - now
    }

    /// All requests refused so far, of all users.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The requests refused so far whose users had no tokens.
    pub fn over_budget(&self) -> u64 {
        self.over_budget
    }

    /// How often a bucket has become empty so far.
    pub fn pauses(&self) -> u64 {
        self.pauses
    }
}

impl Bucket {
    fn tokens(&self, now: Instant) -> Tokens {
        let missing = self.full_at.saturating_duration_since(now);
        if missing.is_zero() {
            return Tokens::Full;
        }
        // Tokens come back one by one, at the end of each interval.
        let missing_tokens = u32::try_from(missing.as_nanos().div_ceil(INTERVAL.as_nanos())).unwrap_or(u32::MAX);
        match BURST.checked_sub(missing_tokens) {
            Some(left @ 1..) => Tokens::Left(left),
            _ => Tokens::Empty,
        }
    }

    fn report(&mut self, now: Instant) -> Report {
        let report = Report { refused: self.refused, time: now.saturating_duration_since(self.counted_from) };
        (self.refused, self.counted_from, self.reported_at) = (0, now, Some(now));
        report
    }
}

#[cfg(test)]
mod tests;
