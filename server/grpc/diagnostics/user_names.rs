//! The login names of users. A look-up may query a directory server, so it runs beside, with a deadline, and its
//! result is kept for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardbroker_core::user::SystemUser;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::policy::accounts::user_name;

/// The maximum time for one look-up. After it the name is left out.
const LOOK_UP_TIME: Duration = Duration::from_millis(200);

/// How long a result is kept, and a look-up that did not end in time is not tried again.
const LIFETIME: Duration = Duration::from_secs(60);

/// The maximum number of kept results.
const MAX_NAMES: usize = 1_024;

/// The names that were looked up. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct UserNames(Arc<Shared>);

/// The names of users, each with the end of its lifetime.
type Names = HashMap<SystemUser, (Option<Arc<str>>, Instant)>;

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<Names>,
    /// Held during a look-up, so that there is one at a time.
    looking_up: tokio::sync::Mutex<()>,
}

impl UserNames {
    /// Returns the login name of a user, if it has one and the system tells it in time.
    pub(super) async fn name(&self, user: SystemUser) -> Option<Arc<str>> {
        if let Some(known) = self.known(user) {
            return known;
        }
        let _one_at_a_time = timeout(LOOK_UP_TIME, self.0.looking_up.lock()).await.ok()?;
        // Another call may have looked it up in the meantime.
        if let Some(known) = self.known(user) {
            return known;
        }
        let looked_up = timeout(LOOK_UP_TIME, spawn_blocking(move || user_name(user))).await;
        let name = looked_up.ok().and_then(Result::ok).flatten().map(Arc::from);
        self.keep(user, name.clone(), Instant::now());
        name
    }

    /// The result of an earlier look-up, if it is kept still.
    fn known(&self, user: SystemUser) -> Option<Option<Arc<str>>> {
        let names = self.lock();
        let (name, until) = names.get(&user)?;
        (Instant::now() < *until).then(|| name.clone())
    }

    fn keep(&self, user: SystemUser, name: Option<Arc<str>>, now: Instant) {
        let mut names = self.lock();
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert(user, (name, now + LIFETIME));
    }

    /// Every change is a single call, so a panic elsewhere leaves the map whole.
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// A user whose name is known everywhere has a number, so the test is Unix's.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use cardbroker_core::user::example;

    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_kept() {
        let names = UserNames::default();
        let root = SystemUser::unix(0);
        assert_eq!(names.name(root).await.as_deref(), Some("root"));
        assert_eq!(names.name(SystemUser::unix(4_000_000)).await, None);
        assert_eq!(names.name(example(7)).await, None);
        assert_eq!(names.lock().len(), 3);
        names.lock().insert(root, (Some("kept".into()), Instant::now() + LIFETIME));
        assert_eq!(names.name(root).await.as_deref(), Some("kept"));
    }
}
