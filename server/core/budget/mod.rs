//! Budgets for refused requests: a user whose requests are refused more often than 20 times a second, after 200 at
//! once, is read more slowly. Work that was served costs nothing. Pure; `now` is an argument.
//!
//! ```text
//! refused ──▶ charge: one token less ──▶ 0 tokens or less: the user's connections pause
//!                  ▲                             │ 20 tokens a second come back
//!                  └──── a short reading ◀───────┘ after the pause
//! ```

pub mod fields;

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    time::{Duration, Instant},
};

/// The refused requests of one user that are read at full speed, after a time without any.
pub const BURST: u32 = 200;

/// The refused requests of one user in a second, after the burst.
pub const PER_SECOND: u32 = 20;

/// The longest time for which a connection is not read. It is shorter than the time for the answer to a keep-alive
/// ping, and than the time for the first request of a connection.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time in which one token comes back.
const INTERVAL: Duration = Duration::from_millis(1_000 / PER_SECOND as u64);

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
    /// None: the user's connections pause for this time, at most [`LONGEST_PAUSE`].
    Empty(Duration),
}

/// The report about a user whose connections pause, for the log.
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
    pauses: u64,
}

#[derive(Debug)]
struct Bucket {
    /// When the bucket is full again.
    full_at: Instant,
    /// The requests that were refused since `counted_from`.
    refused: u64,
    counted_from: Instant,
    /// When the last report was made; `None` before the first pause.
    reported_at: Option<Instant>,
}

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Self { buckets: HashMap::new(), further: None, refused: 0, pauses: 0 }
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Charges a refused request of `user`. Returns a report if its connections pause and none was made lately.
    pub fn charge(&mut self, user: K, now: Instant) -> Option<Report> {
        self.refused += 1;
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&user) {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        let new = || Bucket { full_at: now, refused: 0, counted_from: now, reported_at: None };
        let has_room = self.buckets.len() < MAX_BUCKETS;
        let bucket = match self.buckets.entry(user) {
            Entry::Occupied(bucket) => bucket.into_mut(),
            Entry::Vacant(place) if has_room => place.insert(new()),
            Entry::Vacant(_) => self.further.get_or_insert_with(new),
        };
        if bucket.full_at <= now {
            *bucket = new();
        }
        let was_empty = matches!(bucket.tokens(now), Tokens::Empty(_));
        // A debt beyond the longest pause would only delay the recovery.
        let most = now + BURST * INTERVAL + LONGEST_PAUSE - INTERVAL;
        bucket.full_at = (bucket.full_at + INTERVAL).min(most);
        bucket.refused += 1;
        let Tokens::Empty(_) = bucket.tokens(now) else { return None };
        self.pauses += u64::from(!was_empty);
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

    /// All requests refused so far, of all users.
    pub fn refused(&self) -> u64 {
        self.refused
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
            _ => Tokens::Empty((missing + INTERVAL).saturating_sub(BURST * INTERVAL).min(LONGEST_PAUSE)),
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
