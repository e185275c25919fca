//! Limits on a user's open calls and unfinished requests, and the amounts in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardbroker_core::caller::Principal;

/// The class of a user, which determines the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entitlement {
    /// The policy grants the user something at some reader.
    Member,
    /// The policy grants the user nothing anywhere.
    Stranger,
}

/// The limits of one user.
struct Limits {
    /// Maximum open calls of one connection. For members above the limit of waiting requests per caller, so that watch
    /// streams and health checks are served beside a full queue.
    connection_calls: usize,
    /// Maximum open calls of all connections.
    calls: usize,
    /// Maximum bytes of unfinished requests. For members four of the longest requests.
    bytes: usize,
}

impl Entitlement {
    fn limits(self) -> Limits {
        match self {
            Self::Member => Limits { connection_calls: 256, calls: 2_048, bytes: 4 << 20 },
            Self::Stranger => Limits { connection_calls: 16, calls: 64, bytes: 256 << 10 },
        }
    }

    /// Returns the maximum number of open calls of one connection.
    pub(super) fn connection_calls(self) -> usize {
        self.limits().connection_calls
    }
}

/// The amounts in use by every user. Clones share the account.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets(Arc<Mutex<HashMap<Principal, Taken>>>);

/// The open calls and unfinished bytes of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    calls: usize,
    bytes: usize,
}

impl Budgets {
    /// Reserves an open call of `user`; `None` if the limit is reached.
    pub(super) fn call(&self, user: &Principal, entitlement: Entitlement) -> Option<Reservation> {
        self.take(user, entitlement, Taken { calls: 1, bytes: 0 })
    }

    /// Reserves the bytes of an unfinished request of `user`; `None` if the limit is reached.
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

    /// Every change leaves the map consistent, so a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a user's budget, given back on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    budgets: Budgets,
    user: Principal,
    taken: Taken,
}

impl Reservation {
    /// Returns the number of reserved bytes.
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
    use cardbroker_core::{sid::Sid, user::SystemUser};

    use super::*;

    const ALICE: Principal = Principal::User(SystemUser::unix(1001));
    const BOB: Principal = Principal::User(SystemUser::windows(Sid::LOCAL_SERVICE));

    #[test]
    fn a_users_bytes_are_limited_and_given_back() {
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
    fn a_users_open_calls_are_limited() {
        let budgets = Budgets::default();
        let calls: Vec<_> = std::iter::from_fn(|| budgets.call(&ALICE, Entitlement::Stranger)).take(100).collect();
        assert_eq!(calls.len(), Entitlement::Stranger.limits().calls);
        assert!(budgets.call(&BOB, Entitlement::Stranger).is_some());
        assert!(budgets.request(&ALICE, Entitlement::Stranger, 1).is_some(), "its calls may have bodies");
        drop(calls);
        assert!(budgets.lock().is_empty());
    }
}
