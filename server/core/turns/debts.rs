//! What users owe because their last unit outran the quantum.

use std::time::{Duration, Instant};

use crate::turns::{hash::IdMap, request::Id};

/// From how many debts on those that absence has paid are dropped.
const SWEEP: usize = 64;

/// The users in debt. A debt stays below two quanta: a whole one costs the user one visit, the rest shortens the next.
#[derive(Debug)]
pub struct Debts<U>(IdMap<U, Debt>);

#[derive(Debug)]
struct Debt {
    owed: Duration,
    quantum: Duration,
    /// Since when absence pays.
    since: Instant,
}

impl<U: Id> Default for Debts<U> {
    fn default() -> Self {
        Self(IdMap::default())
    }
}

impl<U: Id> Debts<U> {
    /// How many users are in debt, or were and have paid by absence since.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A visit of `user` ended at `now` and went so far past its `quantum`.
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

    /// `user`, of whom nothing waited, asks: the time without it is paid.
    pub fn on_return(&mut self, user: U, now: Instant) {
        let Some(debt) = self.0.get_mut(&user) else { return };
        debt.owed = debt.owed.saturating_sub(now.saturating_duration_since(debt.since));
        debt.since = now;
        if debt.owed.is_zero() {
            self.0.remove(&user);
        }
    }

    /// Whether `user` owes a whole quantum, which one visit left out pays. Then it is paid.
    pub fn pays_a_visit(&mut self, user: U) -> bool {
        let Some(debt) = self.0.get_mut(&user).filter(|debt| debt.owed >= debt.quantum) else { return false };
        debt.owed -= debt.quantum;
        true
    }

    /// A visit of `user` begins: what it still owes shortens the visit. Then it is paid.
    pub fn settle(&mut self, user: U) -> Duration {
        self.0.remove(&user).map(|debt| debt.owed).unwrap_or_default()
    }
}
