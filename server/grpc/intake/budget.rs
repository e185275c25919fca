//! How much a user's open calls and unfinished requests may take: the limits, and what is taken now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardbroker_core::caller::Principal;

/// What the limits of a user depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entitlement {
    /// The policy grants the user something at some reader.
    Member,
    /// The policy grants the user nothing anywhere.
    Stranger,
}

/// What one user may take.
struct Limits {
    /// Open calls of one connection. For members above the limit of waiting requests per caller, so that watch streams
    /// and health checks find room beside a full queue.
    connection_calls: usize,
    /// Open calls of all connections.
    calls: usize,
    /// Bytes of unfinished requests. For members four of the longest ones.
    bytes: usize,
}

impl Entitlement {
    fn limits(self) -> Limits {
        match self {
            Self::Member => Limits { connection_calls: 256, calls: 8_192, bytes: 4 << 20 },
            Self::Stranger => Limits { connection_calls: 16, calls: 64, bytes: 256 << 10 },
        }
    }

    /// Returns how many calls one connection may have open.
    pub(super) fn connection_calls(self) -> usize {
        self.limits().connection_calls
    }
}

/// What every user takes now. Clones share the account.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets(Arc<Mutex<HashMap<Principal, Taken>>>);

/// The open calls and unfinished bytes of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    calls: usize,
    bytes: usize,
}

impl Budgets {
    /// Takes room for an open call of `user`; `None` if there is none.
    pub(super) fn call(&self, user: &Principal, entitlement: Entitlement) -> Option<Reservation> {
        self.take(user, entitlement, Taken { calls: 1, bytes: 0 })
    }

    /// Takes room for an unfinished request of `user` of that length; `None` if there is none.
    pub(super) fn request(&self, user: &Principal, entitlement: Entitlement, bytes: usize) -> Option<Reservation> {
        self.take(user, entitlement, Taken { calls: 0, bytes })
    }

    fn take(&self, user: &Principal, entitlement: Entitlement, wanted: Taken) -> Option<Reservation> {
        let mut accounts = self.lock();
        let (taken, limits) = (accounts.get(user).copied().unwrap_or_default(), entitlement.limits());
        let calls =
            taken.calls.checked_add(wanted.calls).filter(|calls| *calls <= limits.calls || wanted.calls == 0)?;
        let bytes =
            taken.bytes.checked_add(wanted.bytes).filter(|bytes| *bytes <= limits.bytes || wanted.bytes == 0)?;
        accounts.insert(user.clone(), Taken { calls, bytes });
        Some(Reservation { budgets: self.clone(), user: user.clone(), taken: wanted })
    }

    fn give_back(&self, user: &Principal, taken: Taken) {
        let mut accounts = self.lock();
        let Some(account) = accounts.get_mut(user) else { return };
        account.calls = account.calls.saturating_sub(taken.calls);
        account.bytes = account.bytes.saturating_sub(taken.bytes);
        if *account == Taken::default() {
            accounts.remove(user);
        }
    }

    /// Every change leaves the map whole, so a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room in a user's budget, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budgets: Budgets,
    user: Principal,
    taken: Taken,
}

impl Reservation {
    /// Returns how many bytes are taken.
    pub(super) fn bytes(&self) -> usize {
        self.taken.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budgets.give_back(&self.user, self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Principal = Principal::User(1001);
    const BOB: Principal = Principal::User(1002);

    #[test]
    fn a_user_takes_no_more_than_the_budget_and_gets_it_back() {
        let budgets = Budgets::default();
        for entitlement in [Entitlement::Member, Entitlement::Stranger] {
            let limit = entitlement.limits().bytes;
            let half = budgets.request(&ALICE, entitlement, limit / 2).unwrap();
            let rest = budgets.request(&ALICE, entitlement, limit - limit / 2).unwrap();
            assert!(budgets.request(&ALICE, entitlement, 1).is_none());
            assert!(budgets.request(&ALICE, entitlement, usize::MAX).is_none());
            assert!(budgets.request(&BOB, entitlement, limit).is_some(), "another user has a budget of its own");
            assert!(budgets.call(&ALICE, entitlement).is_some(), "a call takes no bytes");
            drop(half);
            assert!(budgets.request(&ALICE, entitlement, limit / 2 + 1).is_none());
            assert!(budgets.request(&ALICE, entitlement, limit / 2).is_some());
            drop(rest);
            assert!(budgets.lock().is_empty(), "a user who takes nothing is not kept");
        }
    }

    #[test]
    fn a_user_has_no_more_calls_open_than_the_budget() {
        let budgets = Budgets::default();
        let calls: Vec<_> = std::iter::from_fn(|| budgets.call(&ALICE, Entitlement::Stranger)).take(100).collect();
        assert_eq!(calls.len(), Entitlement::Stranger.limits().calls);
        assert!(budgets.call(&BOB, Entitlement::Stranger).is_some());
        assert!(budgets.request(&ALICE, Entitlement::Stranger, 1).is_some(), "its calls may have bodies");
        drop(calls);
        assert!(budgets.lock().is_empty());
    }
}
