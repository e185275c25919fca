//! The outcomes of units with a `request_id`: decides whether a request is the first with its id, joins a running unit,
//! or gets a stored outcome. No outcome is evicted early: without room, new ids are refused.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    caller::Principal,
    card::unit::UnitOutcome,
    error::{Delivery, Failure, Reason},
    keyed_hash::KeyedHash,
};

/// The result of a unit: its responses, or the failure if no command was answered.
pub type Outcome = Result<UnitOutcome, Failure>;

/// A keyed hash of a request's commands. The commands may contain PINs and are not kept.
pub type Fingerprint = KeyedHash;

/// Identifies a request. Two principals may choose the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// The principal of the caller.
    pub principal: Principal,
    /// Its id, which the caller has chosen.
    pub id: RequestId,
}

/// The `request_id` of a request, 16–64 bytes. Its holder gets the outcome of the request, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Vec<u8>);

impl From<Vec<u8>> for RequestId {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Limits on the number, size and age of stored outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// Maximum ids of one user, running units included.
    pub per_user: usize,
    /// Maximum ids of all users together.
    pub total: usize,
    /// Maximum response bytes of all outcomes together; the last outcome may exceed it.
    pub bytes: usize,
    /// How long an outcome is kept.
    pub lifetime: Duration,
}

/// The decision about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin<E> {
    /// The request is the first: it runs its unit and reports the outcome.
    Run,
    /// A unit of an equal request is running.
    Join(E),
    /// The unit of an equal request has ended with this outcome.
    Replay(Arc<Outcome>),
}

/// The outcomes of all users. A repeated request joins a running unit through its `E`.
pub struct Outcomes<E> {
    /// The limits from the configuration. [`Outcomes::begin`] checks all of them. Never change.
    limits: OutcomeLimits,
    /// The requests whose unit is running or whose outcome is kept.
    entries: HashMap<RequestKey, Entry<E>>,
    /// The number of entries of each principal. No number is 0.
    per_user: HashMap<Principal, usize>,
    /// The kept outcomes by the ends of their lifetimes, the earliest first. Running units are not included.
    expiry: BTreeSet<(Instant, RequestKey)>,
    /// The response data bytes of all kept outcomes together, without status words.
    bytes: usize,
}

/// The store's record of one request.
struct Entry<E> {
    /// The hash of the first request's commands, to which a repeat must be equal.
    fingerprint: Fingerprint,
    /// The progress of the request's unit.
    stage: Stage<E>,
}

/// The progress of a request's unit.
enum Stage<E> {
    /// The unit waits or runs. A repeat gets a clone of the value, through which it joins the unit.
    UnderWay(E),
    /// The unit has ended, and its outcome is kept.
    Done {
        /// The result of the unit, shared with its replays.
        outcome: Arc<Outcome>,
        /// The end of the outcome's lifetime.
        until: Instant,
    },
}

impl<E: Clone> Outcomes<E> {
    /// Creates a store without any outcome.
    pub fn new(limits: OutcomeLimits) -> Self {
        Self { limits, entries: HashMap::new(), per_user: HashMap::new(), expiry: BTreeSet::new(), bytes: 0 }
    }

    /// Decides about a new request. If the request runs, `under_way` creates the value that lets repeats join it.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`] if the id was used with other commands, [`Reason::OutcomesFull`] if there is no
    /// room.
    pub fn begin(
        &mut self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        now: Instant,
        under_way: impl FnOnce() -> E,
    ) -> Result<Begin<E>, Failure> {
        self.expire(now);
        if let Some(entry) = self.entries.get(key) {
            if entry.fingerprint != *fingerprint {
                let message = "this request_id was used with other commands: use a new one for each request";
                return Err(Failure::not_sent(Reason::RequestIdReused, message));
            }
            return Ok(match &entry.stage {
                Stage::UnderWay(execution) => Begin::Join(execution.clone()),
                Stage::Done { outcome, .. } => Begin::Replay(Arc::clone(outcome)),
            });
        }
        let of_user = self.per_user.get(&key.principal).copied().unwrap_or_default();
        if of_user >= self.limits.per_user || self.entries.len() >= self.limits.total || self.bytes >= self.limits.bytes
        {
            let message = "no more outcomes can be kept: retry later, or leave request_id empty";
            return Err(Failure::not_sent(Reason::OutcomesFull, message));
        }
        *self.per_user.entry(key.principal.clone()).or_default() += 1;
        self.entries
            .insert(key.clone(), Entry { fingerprint: fingerprint.clone(), stage: Stage::UnderWay(under_way()) });
        Ok(Begin::Run)
    }

    /// Records the outcome of a request, or replaces an unknown outcome. A request whose unit was not sent is
    /// forgotten, so that a repeat runs.
    pub fn finish(&mut self, key: &RequestKey, outcome: Arc<Outcome>, now: Instant) {
        if matches!(&*outcome, Err(failure) if failure.delivery == Delivery::NotSent) {
            self.forget(key);
            return;
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        let until = now + self.limits.lifetime;
        self.bytes += size(&outcome);
        let before = std::mem::replace(&mut entry.stage, Stage::Done { outcome, until });
        self.drop_done(key, before);
        self.expiry.insert((until, key.clone()));
    }

    /// Forgets a request whose unit was refused or cancelled before it began, so that a repeat runs.
    pub fn withdraw(&mut self, key: &RequestKey) {
        self.forget(key);
    }

    /// Forgets the outcomes whose lifetime has ended.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.expiry.first().cloned()
            && until <= now
        {
            self.expiry.pop_first();
            self.forget(&key);
        }
    }

    /// When the lifetime of the oldest outcome ends; `None` without outcomes.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiry.first().map(|(until, _)| *until)
    }

    fn forget(&mut self, key: &RequestKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.drop_done(key, entry.stage);
        if let Some(count) = self.per_user.get_mut(&key.principal) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&key.principal);
            }
        }
    }

    fn drop_done(&mut self, key: &RequestKey, stage: Stage<E>) {
        if let Stage::Done { outcome, until } = stage {
            self.bytes -= size(&outcome);
            self.expiry.remove(&(until, key.clone()));
        }
    }
}

fn size(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, |outcome| outcome.results.iter().map(|result| result.data.len()).sum())
}

#[cfg(test)]
mod tests;
