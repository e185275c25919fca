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
const RUSH_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_RUSH_PAUSE: Duration = Duration::from_millis(100);

/// The budgets of all users. Created by the accept loop; clones share them. Connections ask before they read, and the
/// edge charges refused requests by their peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets {
    refused: Arc<Mutex<Buckets<Payer>>>,
    /// The numbers of each user's connections that send very many requests at once. No number is 0.
    rushes: Arc<Mutex<HashMap<Payer, u32>>>,
}

/// The user that pays for the refused requests of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    /// The user of a local connection, or of the token in a request on TCP.
    User(Principal),
    /// All clients on TCP together that have shown no valid token.
    WithoutToken,
}

impl fmt::Display for Payer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(formatter),
            Self::WithoutToken => formatter.write_str("TCP clients without a valid token"),
        }
    }
}

impl Budgets {
    /// Charges a refused request, and logs once a minute that the user's connections are read more slowly.
    pub(super) fn charge(&self, payer: &Payer) {
        let report = self.lock().charge(payer.clone(), Instant::now());
        if let Some(report) = report {
            let (refused, seconds) = (report.refused, report.time.as_secs_f64().ceil());
            let problem = "too many requests are refused: its connections are read slowly";
            tracing::warn!(user = %payer, refused, seconds, "{problem}");
        }
    }

    /// The tokens of a user now.
    pub(super) fn tokens(&self, payer: &Payer) -> Tokens {
        self.lock().tokens(payer, Instant::now())
    }

    /// Counts a connection of the user that sends very many requests at once.
    pub(super) fn rush(&self, payer: &Payer) -> RushGuard {
        *self.rushes().entry(payer.clone()).or_default() += 1;
        RushGuard { budgets: self.clone(), payer: payer.clone() }
    }

    fn rushes(&self) -> MutexGuard<'_, HashMap<Payer, u32>> {
        self.rushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ignores poisoning: every change is a single call, so a panic elsewhere leaves the buckets consistent.
    fn lock(&self) -> MutexGuard<'_, Buckets<Payer>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that sends very many requests at once, counted until it is dropped.
#[derive(Debug)]
pub(super) struct RushGuard {
    budgets: Budgets,
    payer: Payer,
}

impl RushGuard {
    /// The time between two short readings of the connection: longer if the user has several such connections.
    pub(super) fn pause(&self) -> Duration {
        let rushes = self.budgets.rushes().get(&self.payer).copied().unwrap_or(1);
        (RUSH_PAUSE * rushes).min(LONGEST_RUSH_PAUSE)
    }
}

impl Drop for RushGuard {
    fn drop(&mut self) {
        let mut rushes = self.budgets.rushes();
        if let Some(count) = rushes.get_mut(&self.payer) {
            *count -= 1;
            if *count == 0 {
                rushes.remove(&self.payer);
            }
        }
    }
}
