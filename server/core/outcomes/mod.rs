//! The outcomes of units with a `request_id`: decides whether a request is the first with its id, joins a running unit,
//! or gets a stored outcome. No id is forgotten early: without room, new ids are refused, and a new outcome drops the
//! answers of the same user's oldest ones, whose repeats then get a failure.

mod room;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use self::room::Room;
use crate::{
    caller::{Caller, Identity, Principal},
    card::unit::UnitOutcome,
    error::{Delivery, Failure, Reason},
    keyed_hash::KeyedHash,
    turns::places::Refused,
};

/// The result of a unit: its responses, or the failure if no command was answered.
pub type Outcome = Result<UnitOutcome, Failure>;

/// A keyed hash of a request's commands. The commands may contain PINs and are not kept.
pub type Fingerprint = KeyedHash;

/// Identifies a request. Two principals may choose the same id, and so may two clients whose user is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// The principal of the caller.
    pub principal: Principal,
    /// Its id, which the caller has chosen.
    pub id: RequestId,
}

impl RequestKey {
    /// The key of a request of `caller` with this `request_id`.
    pub fn new(caller: &Caller, request_id: Vec<u8>) -> Self {
        // Clients whose user the system does not tell may be of different users.
        let connection = (caller.identity == Identity::Unknown).then_some(caller.connection);
        Self { principal: caller.principal(), id: RequestId { connection, bytes: request_id } }
    }
}

/// The `request_id` of a request, 16–64 bytes. Its holder gets the outcome of the request, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The connection that the id is limited to; `None` if it counts for all connections of the principal.
    connection: Option<u64>,
    bytes: Vec<u8>,
}

impl From<Vec<u8>> for RequestId {
    /// An id for all connections of its principal.
    fn from(bytes: Vec<u8>) -> Self {
        Self { connection: None, bytes }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Limits on the number, size and age of stored outcomes. The last eighth of the number and of the bytes is for small
/// users, which have at most a sixty-fourth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// Maximum ids of one user, running units included.
    pub per_user: usize,
    /// Maximum ids of all users together.
    pub total: usize,
    /// Maximum bytes of all outcomes together; one user has at most a quarter.
    pub bytes: usize,
    /// The lifetime of an outcome.
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
    /// The lifetime of an outcome. Never changes.
    lifetime: Duration,
    /// The requests whose unit is running or whose outcome is kept.
    entries: HashMap<RequestKey, Entry<E>>,
    /// The places that the entries occupy.
    room: Room,
    /// The kept outcomes by the ends of their lifetimes, the earliest first. Running units are not included.
    expiry: BTreeSet<(Instant, RequestKey)>,
    /// Of each user the kept outcomes with answers, in the same order. No set is empty.
    with_answers: HashMap<Principal, BTreeSet<(Instant, RequestId)>>,
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
        Self {
            lifetime: limits.lifetime,
            entries: HashMap::new(),
            room: Room::new(limits),
            expiry: BTreeSet::new(),
            with_answers: HashMap::new(),
        }
    }

    /// Decides about a new request. If the request runs, `under_way` creates the value that lets repeats join it.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`] if the id was used with other commands, [`Reason::OutcomesFull`] if there is no
    /// room for an outcome without answers.
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
        self.room.enter(&key.principal).map_err(|refused| {
            let message = match refused {
                Refused::UserLimit => {
                    "no more outcomes of this user can be kept: retry later, or leave request_id empty"
                }
                Refused::Reserved | Refused::Full => {
                    "no more outcomes can be kept: retry later, or leave request_id empty"
                }
            };
            Failure::not_sent(Reason::OutcomesFull, message)
        })?;
        self.entries
            .insert(key.clone(), Entry { fingerprint: fingerprint.clone(), stage: Stage::UnderWay(under_way()) });
        Ok(Begin::Run)
    }

    /// Records the outcome of a request, or replaces an unknown outcome. A request whose unit was not sent is
    /// forgotten, so that a repeat runs.
    ///
    /// Without room for the answers, the oldest answers of the same user are dropped. If all of them would not make
    /// enough room, the new ones are dropped instead.
    pub fn finish(&mut self, key: &RequestKey, outcome: Arc<Outcome>, now: Instant) {
        if matches!(&*outcome, Err(failure) if failure.delivery == Delivery::NotSent) {
            self.forget(key);
            return;
        }
        self.unlist(key);
        if !self.entries.contains_key(key) {
            return;
        }
        let fits = self.make_room(&key.principal, room::bytes(&outcome));
        let outcome = if fits { outcome } else { Arc::new(Err(answers_dropped())) };
        self.keep(key, outcome, now + self.lifetime);
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
        self.unlist(key);
        if self.entries.remove(key).is_some() {
            self.room.leave(&key.principal);
        }
    }

    /// Takes places for the bytes of a new outcome, and drops the user's oldest answers as far as needed. Returns
    /// whether there are enough; if all of the user's answers would not make enough room, none is dropped.
    fn make_room(&mut self, user: &Principal, bytes: u64) -> bool {
        if !self.room.could_grow(user, bytes) {
            return false;
        }
        while !self.room.grow(user, bytes) {
            let oldest = self.with_answers.get(user).and_then(BTreeSet::first).cloned();
            let Some((until, id)) = oldest else { return false };
            let key = RequestKey { principal: user.clone(), id };
            self.unlist(&key);
            self.keep(&key, Arc::new(Err(answers_dropped())), until);
        }
        true
    }

    /// Puts an outcome, whose bytes have their places, into the entry of its request.
    fn keep(&mut self, key: &RequestKey, outcome: Arc<Outcome>, until: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if room::bytes(&outcome) > 0 {
            self.with_answers.entry(key.principal.clone()).or_default().insert((until, key.id.clone()));
        }
        entry.stage = Stage::Done { outcome, until };
        self.expiry.insert((until, key.clone()));
    }

    /// Removes the outcome of an entry, if it has one, from the indices, and gives back the places of its bytes. The
    /// entry stays until it is removed or gets another outcome.
    fn unlist(&mut self, key: &RequestKey) {
        let Some(Entry { stage: Stage::Done { outcome, until }, .. }) = self.entries.get(key) else { return };
        self.room.shrink(&key.principal, room::bytes(outcome));
        self.expiry.remove(&(*until, key.clone()));
        if let Some(of_user) = self.with_answers.get_mut(&key.principal) {
            of_user.remove(&(*until, key.id.clone()));
            if of_user.is_empty() {
                self.with_answers.remove(&key.principal);
            }
        }
    }
}

/// The outcome in place of one whose answers were dropped. How far the unit came is no longer known.
fn answers_dropped() -> Failure {
    let message = "the unit has run, and there was no room to keep its answers: check the card's state before you \
                   send its commands again";
    Failure::unknown(Reason::OutcomesFull, message)
}

#[cfg(test)]
mod tests;
