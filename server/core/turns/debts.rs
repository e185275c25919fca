//! The debts of users whose last turn outran the quantum.

use std::time::{Duration, Instant};

use crate::turns::{hash::IdMap, request::Id};

/// The number of stored debts from which an overrun first removes those that absence has paid.
const SWEEP: usize = 64;

/// The users in debt. A debt is at most two quanta. A whole quantum costs the user one visit; the rest shortens the
/// next visit.
#[derive(Debug)]
pub struct Debts<U>(IdMap<U, Debt>);

#[derive(Debug)]
struct Debt {
    owed: Duration,
    quantum: Duration,
    /// The time from which the user's absence pays the debt.
    since: Instant,
}

impl<U: Id> Default for Debts<U> {
    fn default() -> Self {
        Self(IdMap::default())
    }
}

impl<U: Id> Debts<U> {
    /// The number of stored debts, including those that absence has paid since.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Records that a visit of `user` ended at `now`, `overrun` after the end of its `quantum`.
    pub fn on_overrun(&mut self, user: U, overrun: Duration, quantum: Duration, now: Instant) {
        if self.0.len() >= SWEEP {
            self.0.retain(|_, debt| debt.since + debt.owed > now);
        }
        let owed = overrun.min(2 * quantum);
        if owed.is_zero() {
            self.0.remove(&user);
        } else {
            self.0.insert(user, Debt { owed, quantum, since: now });
        }
    }

    /// Records a request of `user`, which had no waiting request. Reduces the debt by the time of the user's absence.
    pub fn on_return(&mut self, user: U, now: Instant) {
        let Some(debt) = self.0.get_mut(&user) else { return };
        debt.owed = debt.owed.saturating_sub(now.saturating_duration_since(debt.since));
        debt.since = now;
        if debt.owed.is_zero() {
            self.0.remove(&user);
        }
    }

    /// Takes a whole quantum off the debt of `user`, for one skipped visit. Returns `false` if the user owes less.
    pub fn charge_visit(&mut self, user: U) -> bool {
        let Some(debt) = self.0.get_mut(&user).filter(|debt| debt.owed >= debt.quantum) else { return false };
        debt.owed -= debt.quantum;
        true
    }

    /// Clears the debt of `user` at the beginning of a visit. Returns the debt, by which the visit is shorter.
    pub fn take(&mut self, user: U) -> Duration {
        self.0.remove(&user).map(|debt| debt.owed).unwrap_or_default()
    }
}
