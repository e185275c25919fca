//! The room of kept outcomes: their number and their bytes, which users share.

use crate::{
    caller::Principal,
    card::unit::CommandResult,
    outcomes::{Outcome, OutcomeLimits},
    turns::places::{Places, Refused},
};

/// The bytes that an outcome counts beside its answers, from the start of its unit: a bit more than it occupies with an
/// id of the maximum length. Measured are 650–720 bytes for a failure and 950–1,040 for a unit without answers: the id
/// in three indices, the fingerprint, the outcome and its tags. A quarter of 64 MiB has room for the 10,000 outcomes of
/// the largest `max_outcomes_per_user`.
pub(super) const EMPTY: u64 = 1_280;

/// The bytes that the allocation of a result's data occupies beside the data, at most.
pub(super) const ALLOCATION: usize = 32;

/// The bytes of an outcome's answers: their results, and the data of each.
pub(super) fn bytes(outcome: &Outcome) -> u64 {
    let of_data = |result: &CommandResult| ALLOCATION + result.data.len();
    let of_results = |results: &Vec<CommandResult>| {
        results.capacity() * size_of::<CommandResult>() + results.iter().map(of_data).sum::<usize>()
    };
    outcome.as_ref().map_or(0, |outcome| of_results(&outcome.results) as u64)
}

/// The places of all outcomes.
pub(super) struct Room {
    /// One place for each id.
    ids: Places<Principal>,
    /// [`EMPTY`] bytes for each id, and those of its answers.
    bytes: Places<Principal>,
}

impl Room {
    /// Creates the room for as many outcomes as `limits` allow.
    pub(super) fn new(limits: OutcomeLimits) -> Self {
        let ids = Places::with_per_user(limits.total as u64, limits.per_user as u64);
        Self { ids, bytes: Places::new(limits.bytes as u64) }
    }

    /// Takes the places of a new id with an empty outcome.
    ///
    /// # Errors
    /// The limit that the id or the outcome would break.
    pub(super) fn enter(&mut self, user: &Principal) -> Result<(), Refused> {
        self.ids.take(user.clone(), 1)?;
        self.bytes.take(user.clone(), EMPTY).inspect_err(|_| self.ids.give_back(user.clone(), 1))
    }

    /// Gives back the places of an id whose answers have none any more.
    pub(super) fn leave(&mut self, user: &Principal) {
        self.ids.give_back(user.clone(), 1);
        self.bytes.give_back(user.clone(), EMPTY);
    }

    /// Takes places for the bytes of answers, all or none. Returns whether there were enough.
    pub(super) fn grow(&mut self, user: &Principal, bytes: u64) -> bool {
        bytes == 0 || self.bytes.take(user.clone(), bytes).is_ok()
    }

    /// Whether there would be places for the bytes of answers if the user's other answers had none.
    pub(super) fn could_grow(&self, user: &Principal, bytes: u64) -> bool {
        let of_ids = EMPTY * self.ids.held_by(user.clone());
        let of_answers = self.bytes.held_by(user.clone()).saturating_sub(of_ids);
        bytes == 0 || self.bytes.check(user, of_answers, bytes).is_ok()
    }

    /// Gives back the places of the bytes of answers.
    pub(super) fn shrink(&mut self, user: &Principal, bytes: u64) {
        self.bytes.give_back(user.clone(), bytes);
    }

    /// The number of ids and of bytes that `user` holds.
    #[cfg(test)]
    pub(super) fn held_by(&self, user: &Principal) -> (u64, u64) {
        (self.ids.held_by(user.clone()), self.bytes.held_by(user.clone()))
    }

    /// The number of ids and of bytes that all users hold.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.ids.taken(), self.bytes.taken())
    }
}
