//! How much of the broker's memory a user's unfinished requests may hold. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::caller::Principal;

/// Bytes of unfinished bodies of a user who may do something at some reader: four of the longest requests.
const USER_BYTES: usize = 4 << 20;

/// The same for a user whom no rule allows anything.
const STRANGER_BYTES: usize = 256 << 10;

/// Calls that a connection of a user with rights may have open. Above the limit of waiting requests per caller, so that watch streams
/// and health checks find room beside a full queue.
const USER_CALLS: usize = 256;

/// The same for a user whom no rule allows anything.
const STRANGER_CALLS: usize = 16;

/// What the policy grants a user, as far as budgets depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something at some reader.
    User,
    /// Nothing anywhere.
    Stranger,
}

impl Standing {
    /// Returns how many calls one connection may have open.
    pub(super) fn calls(self) -> usize {
        match self {
            Self::User => USER_CALLS,
            Self::Stranger => STRANGER_CALLS,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::User => USER_BYTES,
            Self::Stranger => STRANGER_BYTES,
        }
    }
}

/// The bytes of unfinished bodies by user. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets(Arc<Mutex<HashMap<Principal, usize>>>);

impl Budgets {
    /// Reserves `bytes` for an unfinished body of `user`; `None` if that is more than the user has left.
    pub(super) fn reserve(&self, user: &Principal, standing: Standing, bytes: usize) -> Option<Reservation> {
        let mut held = self.lock();
        let of_user = held.get(user).copied().unwrap_or_default();
        let sum = of_user.checked_add(bytes).filter(|sum| *sum <= standing.bytes())?;
        held.insert(user.clone(), sum);
        Some(Reservation { budgets: self.clone(), user: user.clone(), bytes })
    }

    /// Every change is a single call of the map, so a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a user's budget, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budgets: Budgets,
    user: Principal,
    bytes: usize,
}

impl Reservation {
    /// Returns how many bytes are reserved.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = self.budgets.lock();
        if let Some(left) = held.get(&self.user).and_then(|held| held.checked_sub(self.bytes)).filter(|left| *left > 0)
        {
            held.insert(self.user.clone(), left);
        } else {
            held.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Principal = Principal::User(1001);
    const BOB: Principal = Principal::User(1002);

    #[test]
    fn a_user_holds_no_more_than_the_budget_and_gets_it_back() {
        let budgets = Budgets::default();
        for (standing, limit) in [(Standing::User, USER_BYTES), (Standing::Stranger, STRANGER_BYTES)] {
            let half = budgets.reserve(&ALICE, standing, limit / 2).unwrap();
            let rest = budgets.reserve(&ALICE, standing, limit - limit / 2).unwrap();
            assert!(budgets.reserve(&ALICE, standing, 1).is_none());
            assert!(budgets.reserve(&ALICE, standing, usize::MAX).is_none());
            assert!(budgets.reserve(&BOB, standing, limit).is_some(), "another user has a budget of its own");
            drop(half);
            assert!(budgets.reserve(&ALICE, standing, limit / 2 + 1).is_none());
            assert!(budgets.reserve(&ALICE, standing, limit / 2).is_some());
            drop(rest);
            assert!(budgets.lock().is_empty(), "a user without unfinished bodies is not kept");
        }
    }
}
