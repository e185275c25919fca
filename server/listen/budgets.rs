//! The budgets for refused requests, shared by all connections, with the log of them. Counts the connections of each
//! user that are read slowly.

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

/// The budgets of all users. Created by the accept loop; clones share them. Connections ask before they read, and the
/// edge charges refused requests by their peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets {
    refused: Arc<Mutex<Buckets<Account>>>,
    /// The numbers of each user's slow connections. No number is 0.
    slow: Arc<Mutex<HashMap<(Slow, Account), u32>>>,
}

/// The user to whom the refused requests of a connection are charged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// The user of a local connection, or of the token in a request on TCP.
    User(Principal),
    /// All clients on TCP together that have shown no valid token.
    WithoutToken,
}

/// Why a connection is read slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slow {
    /// It sends very many requests at once.
    Burst,
    /// Its user has not all tokens, and requests of its own were refused, or it is new.
    Refused,
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(formatter),
            Self::WithoutToken => formatter.write_str("TCP clients without a valid token"),
        }
    }
}

impl Account {
    /// The message that too much was charged to the account, and what follows.
    fn problem(&self) -> &'static str {
        match self {
            Self::User(_) => {
                "too many requests are refused: the connections that send them, and new ones, are read slowly"
            }
            Self::WithoutToken => {
                "too many requests and connections have no valid token: they are read slowly, and TCP clients are \
                 accepted slowly"
            }
        }
    }
}

impl Budgets {
    /// Charges a refused request, and logs once a minute that connections of the user are read slowly.
    pub(super) fn charge(&self, account: &Account) {
        let report = self.lock().charge(account.clone(), Instant::now());
        if let Some(report) = report {
            let (refused, seconds) = (report.refused, report.time.as_secs_f64().ceil());
            tracing::warn!(user = %account, refused, seconds, "{}", account.problem());
        }
    }

    /// The refused requests so far that came while their user had no tokens.
    pub(super) fn over_budget(&self) -> u64 {
        self.lock().over_budget()
    }

    /// The tokens of a user now.
    pub(super) fn tokens(&self, account: &Account) -> Tokens {
        self.lock().tokens(account, Instant::now())
    }

    /// The time until a connection of a user without tokens may be read again. Call it once for each reading.
    pub(super) fn next_reading(&self, account: &Account) -> Duration {
        self.lock().next_reading(account, Instant::now())
    }

    /// Counts a slow connection of the user until the result is dropped.
    pub(super) fn count(&self, why: Slow, account: Account) -> Counted {
        *self.slow().entry((why, account.clone())).or_default() += 1;
        Counted { budgets: self.clone(), key: (why, account) }
    }

    fn slow(&self) -> MutexGuard<'_, HashMap<(Slow, Account), u32>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ignores poisoning: every change is a single call, so a panic elsewhere leaves the buckets consistent.
    fn lock(&self) -> MutexGuard<'_, Buckets<Account>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is read slowly, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    budgets: Budgets,
    key: (Slow, Account),
}

impl Counted {
    /// The number of the user's connections that are slow for the same reason, this one included.
    pub(super) fn number(&self) -> u32 {
        self.budgets.slow().get(&self.key).copied().unwrap_or(1)
    }

    /// Whether the connection is counted for this user.
    pub(super) fn is_of(&self, account: &Account) -> bool {
        self.key.1 == *account
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut slow = self.budgets.slow();
        if let Some(number) = slow.get_mut(&self.key) {
            *number -= 1;
            if *number == 0 {
                slow.remove(&self.key);
            }
        }
    }
}
