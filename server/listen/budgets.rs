//! The budgets for refused requests: whose connections are read more slowly, and the log of it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cardbroker_core::{
    budget::{Budgets as Buckets, Tokens},
    caller::Principal,
};

/// The time between two short readings of a user's only connection that sends very many requests at once.
const BURST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_BURST_PAUSE: Duration = Duration::from_millis(100);

/// The budgets of all users. Created by the accept loop; clones share them. Connections ask before they read, and the
/// edge charges refused requests by their peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets {
    refused: Arc<Mutex<Buckets<Account>>>,
    /// The numbers of each user's connections that send very many requests at once. No number is 0.
    bursts: Arc<Mutex<HashMap<Account, u32>>>,
}

/// The user to whom the refused requests of a connection are charged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// The user of a local connection, or of the token in a request on TCP.
    User(Principal),
    /// All clients on TCP together that have shown no valid token.
    WithoutToken,
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(formatter),
            Self::WithoutToken => formatter.write_str("TCP clients without a valid token"),
        }
    }
}

impl Budgets {
    /// Charges a refused request, and logs once a minute that the user's connections are read more slowly.
    pub(super) fn charge(&self, account: &Account) {
        let report = self.lock().charge(account.clone(), Instant::now());
        if let Some(report) = report {
            let (refused, seconds) = (report.refused, report.time.as_secs_f64().ceil());
            let problem = "too many requests are refused: its connections are read slowly";
            tracing::warn!(user = %account, refused, seconds, "{problem}");
        }
    }

    /// The tokens of a user now.
    pub(super) fn tokens(&self, account: &Account) -> Tokens {
        self.lock().tokens(account, Instant::now())
    }

    /// Counts a connection of the user that sends very many requests at once.
    pub(super) fn burst(&self, account: &Account) -> BurstGuard {
        *self.bursts().entry(account.clone()).or_default() += 1;
        BurstGuard { budgets: self.clone(), account: account.clone() }
    }

    fn bursts(&self) -> MutexGuard<'_, HashMap<Account, u32>> {
        self.bursts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ignores poisoning: every change is a single call, so a panic elsewhere leaves the buckets consistent.
    fn lock(&self) -> MutexGuard<'_, Buckets<Account>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that sends very many requests at once, counted until it is dropped.
#[derive(Debug)]
pub(super) struct BurstGuard {
    budgets: Budgets,
    account: Account,
}

impl BurstGuard {
    /// The time between two short readings of the connection: longer if the user has several such connections.
    pub(super) fn pause(&self) -> Duration {
        let bursts = self.budgets.bursts().get(&self.account).copied().unwrap_or(1);
        (BURST_PAUSE * bursts).min(LONGEST_BURST_PAUSE)
    }
}

impl Drop for BurstGuard {
    fn drop(&mut self) {
        let mut bursts = self.budgets.bursts();
        if let Some(count) = bursts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                bursts.remove(&self.account);
            }
        }
    }
}
