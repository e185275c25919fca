//! The room of kept outcomes: their number and their bytes, which users share.

use crate::{
    caller::Principal,
    card::unit::CommandResult,
    outcomes::{Outcome, OutcomeLimits},
    turns::places::{Places, Refused},
};

/// The bytes that an outcome counts beside its answers, from the start of its unit. A quarter of 64 MiB has room for
/// the 100,000 outcomes of the largest `max_outcomes_per_user`.
pub(super) const EMPTY: u64 = 128;

/// The bytes of an outcome's answers: their data, and what each result occupies beside it.
pub(super) fn bytes(outcome: &Outcome) -> u64 {
    let of = |result: &CommandResult| size_of::<CommandResult>() + result.data.len();
    outcome.as_ref().map_or(0, |outcome| outcome.results.iter().map(of).sum::<usize>() as u64)
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

    /// Gives back the places of the bytes of answers.
    pub(super) fn shrink(&mut self, user: &Principal, bytes: u64) {
        self.bytes.give_back(user.clone(), bytes);
    }

    /// How many ids and how many bytes `user` holds.
    #[cfg(test)]
    pub(super) fn held_by(&self, user: &Principal) -> (u64, u64) {
        (self.ids.held_by(user.clone()), self.bytes.held_by(user.clone()))
    }

    /// How many ids and how many bytes all users hold.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.ids.taken(), self.bytes.taken())
    }
}
