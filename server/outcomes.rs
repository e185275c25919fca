//! Outcomes of units with a `request_id`, pure: whether a request is the first of its id, joins one that is under way, or gets what one
//! has brought. No clock and no I/O: `now` is an argument. Nothing is evicted early: when there is no room, new ids are refused.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::{Delivery, Failure, Reason},
    reader::ticket::UnitOutcome,
};

/// What a unit has brought.
pub type Outcome = Result<UnitOutcome, Failure>;

/// What commands look like from outside: a keyed hash, for they may hold PINs and are not kept.
pub type Fingerprint = [u8; 32];

/// Names a request: the user, and the id that it chose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// The user.
    pub uid: u32,
    /// The id.
    pub id: Vec<u8>,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// Ids of one user, those under way included.
    pub per_user: usize,
    /// Ids of all users together.
    pub total: usize,
    /// Response bytes of all outcomes together; the last one may exceed it.
    pub bytes: usize,
    /// How long an outcome is kept.
    pub lifetime: Duration,
}

/// What a request is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin<E> {
    /// It is the first: run it, and say what came of it.
    Run,
    /// One like it is under way.
    Join(E),
    /// One like it has brought this.
    Replay(Arc<Outcome>),
}

/// The outcomes; `E` is how a unit that is under way can be joined.
pub struct Outcomes<E> {
    limits: OutcomeLimits,
    entries: HashMap<RequestKey, Entry<E>>,
    per_user: HashMap<u32, usize>,
    expiry: BTreeSet<(Instant, RequestKey)>,
    bytes: usize,
}

struct Entry<E> {
    fingerprint: Fingerprint,
    stage: Stage<E>,
}

enum Stage<E> {
    UnderWay(E),
    Done { outcome: Arc<Outcome>, until: Instant },
}

impl<E: Clone> Outcomes<E> {
    /// No outcomes.
    pub fn new(limits: OutcomeLimits) -> Self {
        Self { limits, entries: HashMap::new(), per_user: HashMap::new(), expiry: BTreeSet::new(), bytes: 0 }
    }

    /// A request has come. If it is to run, `under_way` is how others can join it.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`] if the id was used with other commands, [`Reason::OutcomesFull`] if there is no room.
    pub fn begin(
        &mut self,
        key: &RequestKey,
        fingerprint: Fingerprint,
        now: Instant,
        under_way: impl FnOnce() -> E,
    ) -> Result<Begin<E>, Failure> {
        self.expire(now);
        if let Some(entry) = self.entries.get(key) {
            if entry.fingerprint != fingerprint {
                let message = "this request_id was used with other commands: take a new one for each request";
                return Err(Failure::not_sent(Reason::RequestIdReused, message));
            }
            return Ok(match &entry.stage {
                Stage::UnderWay(execution) => Begin::Join(execution.clone()),
                Stage::Done { outcome, .. } => Begin::Replay(Arc::clone(outcome)),
            });
        }
        let of_user = self.per_user.get(&key.uid).copied().unwrap_or_default();
        if of_user >= self.limits.per_user || self.entries.len() >= self.limits.total || self.bytes >= self.limits.bytes
        {
            let message = "no more outcomes can be kept: retry later, or leave request_id empty";
            return Err(Failure::not_sent(Reason::OutcomesFull, message));
        }
        *self.per_user.entry(key.uid).or_default() += 1;
        self.entries.insert(key.clone(), Entry { fingerprint, stage: Stage::UnderWay(under_way()) });
        Ok(Begin::Run)
    }

    /// What came of a request that was to run, or what is known now where it was unknown. What was not sent is forgotten, so that a
    /// repeat runs.
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

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.expiry.first().cloned()
            && until <= now
        {
            self.expiry.pop_first();
            self.forget(&key);
        }
    }

    /// When the next outcome is to be forgotten.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiry.first().map(|(until, _)| *until)
    }

    fn forget(&mut self, key: &RequestKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.drop_done(key, entry.stage);
        if let Some(count) = self.per_user.get_mut(&key.uid) {
            *count -= 1;
            if *count == 0 {
                self.per_user.remove(&key.uid);
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
mod tests {
    use super::*;
    use crate::{
        apdu::StatusWord,
        reader::unit::{CommandResult, StatusWordSource},
    };

    const LIMITS: OutcomeLimits =
        OutcomeLimits { per_user: 2, total: 3, bytes: 100, lifetime: Duration::from_secs(600) };

    fn key(uid: u32, id: u8) -> RequestKey {
        RequestKey { uid, id: vec![id; 16] }
    }

    fn brought(bytes: usize) -> Arc<Outcome> {
        let result = CommandResult {
            data: vec![0; bytes].into(),
            status_word: StatusWord(0x9000),
            source: StatusWordSource::Command,
            get_response_count: 0,
        };
        Arc::new(Ok(UnitOutcome {
            results: vec![result],
            stopped: None,
            insertion_id: String::new(),
            state_tag: String::new(),
            queue_duration: Duration::ZERO,
            card_duration: Duration::ZERO,
            reset_before_unit: false,
        }))
    }

    fn outcomes() -> (Outcomes<u8>, Instant) {
        (Outcomes::new(LIMITS), Instant::now())
    }

    #[test]
    fn the_first_runs_the_next_join_and_the_late_get_what_it_brought() {
        let (mut outcomes, now) = outcomes();
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 7), Ok(Begin::Run));
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 8), Ok(Begin::Join(7)));
        outcomes.finish(&key(0, 1), brought(3), now);
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 9), Ok(Begin::Replay(brought(3))));
        assert_eq!(outcomes.begin(&key(5, 1), [1; 32], now, || 9), Ok(Begin::Run), "another user's id is another id");
    }

    #[test]
    fn other_commands_under_the_same_id_are_refused() {
        let (mut outcomes, now) = outcomes();
        outcomes.begin(&key(0, 1), [1; 32], now, || 7).unwrap();
        let refused = outcomes.begin(&key(0, 1), [2; 32], now, || 7).unwrap_err();
        assert_eq!((refused.reason, refused.delivery), (Reason::RequestIdReused, Delivery::NotSent));
    }

    #[test]
    fn what_was_not_sent_is_forgotten_and_what_is_unknown_is_kept_until_it_is_known() {
        let (mut outcomes, now) = outcomes();
        outcomes.begin(&key(0, 1), [1; 32], now, || 7).unwrap();
        outcomes.finish(&key(0, 1), Arc::new(Err(Failure::not_sent(Reason::QueueTimeout, "late"))), now);
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 7), Ok(Begin::Run));
        let unknown = Arc::new(Err(Failure::unknown(Reason::ReaderUnresponsive, "hangs")));
        outcomes.finish(&key(0, 1), Arc::clone(&unknown), now);
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 7), Ok(Begin::Replay(unknown)));
        outcomes.finish(&key(0, 1), brought(3), now);
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], now, || 7), Ok(Begin::Replay(brought(3))));
    }

    #[test]
    fn outcomes_are_forgotten_after_their_time_and_never_before() {
        let (mut outcomes, now) = outcomes();
        for id in 1..=2 {
            outcomes.begin(&key(0, id), [1; 32], now, || 7).unwrap();
            outcomes.finish(&key(0, id), brought(3), now);
        }
        let full = outcomes.begin(&key(0, 3), [1; 32], now, || 7).unwrap_err();
        assert_eq!(full.reason, Reason::OutcomesFull);
        assert_eq!(outcomes.next_expiry(), Some(now + LIMITS.lifetime));
        let later = now + LIMITS.lifetime;
        assert_eq!(outcomes.begin(&key(0, 1), [1; 32], later, || 7), Ok(Begin::Run));
        assert_eq!((outcomes.next_expiry(), outcomes.bytes), (None, 0));
    }

    #[test]
    fn room_is_limited_for_a_user_for_all_and_in_bytes() {
        let (mut outcomes, now) = outcomes();
        for (uid, id) in [(0, 1), (0, 2), (1, 1)] {
            assert_eq!(outcomes.begin(&key(uid, id), [1; 32], now, || 7), Ok(Begin::Run));
        }
        assert_eq!(outcomes.begin(&key(2, 1), [1; 32], now, || 7).unwrap_err().reason, Reason::OutcomesFull);
        let unsent = || Arc::new(Err(Failure::not_sent(Reason::QueueTimeout, "late")));
        outcomes.finish(&key(1, 1), unsent(), now);
        outcomes.finish(&key(0, 2), unsent(), now);
        outcomes.finish(&key(0, 1), brought(100), now);
        assert_eq!(outcomes.begin(&key(2, 1), [1; 32], now, || 7).unwrap_err().reason, Reason::OutcomesFull);
        outcomes.finish(&key(0, 1), brought(99), now);
        assert_eq!(outcomes.begin(&key(2, 1), [1; 32], now, || 7), Ok(Begin::Run));
    }
}
