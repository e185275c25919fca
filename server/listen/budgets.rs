//! The budgets for refused requests: whose connections are read more slowly, and the log of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use cardbroker_core::{
    budget::{Budgets as Buckets, Tokens},
    caller::Principal,
};

/// The budgets of all users. Created by the accept loop; clones share them. Connections ask before they read, and the
/// edge charges refused requests by their peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets(Arc<Mutex<Buckets<Payer>>>);

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
        let buckets = self.lock();
        if buckets.is_untouched() { Tokens::Full } else { buckets.tokens(payer, Instant::now()) }
    }

    /// Ignores poisoning: every change is a single call, so a panic elsewhere leaves the buckets consistent.
    fn lock(&self) -> MutexGuard<'_, Buckets<Payer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
