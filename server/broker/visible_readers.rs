//! What one caller may see of the readers, by the rules that are in force at the moment of the look.

use std::sync::Arc;

use cardbroker_core::{
    caller::Identity,
    policy::{Policy, ReaderNames, rule::Operation},
};
use tokio::sync::watch;

use crate::{
    policy::access::PolicyInForce,
    registry::{ReaderView, View},
};

/// The readers as one caller may see them, at each look by what is in force then.
pub(super) struct VisibleReaders {
    view: watch::Receiver<Arc<View>>,
    policy: PolicyInForce,
    identity: Identity,
    needed: &'static [Operation],
}

/// The readers that one caller may see, at one moment. To be dropped soon: while it is held, a change of a reader
/// copies the view.
pub struct ReaderList {
    view: Arc<View>,
    visibility: Visibility,
}

/// What one caller may see by one set of rules.
#[derive(Clone)]
pub(super) struct Visibility {
    pub(super) policy: Arc<Policy>,
    pub(super) identity: Identity,
    needed: &'static [Operation],
}

impl VisibleReaders {
    /// The readers of `view` at which `policy` allows `identity` all operations that are `needed`.
    pub(super) fn new(
        view: watch::Receiver<Arc<View>>,
        policy: PolicyInForce,
        identity: Identity,
        needed: &'static [Operation],
    ) -> Self {
        Self { view, policy, identity, needed }
    }

    /// The readers as they are now.
    pub(super) fn look(&mut self) -> ReaderList {
        let view = Arc::clone(&self.view.borrow_and_update());
        let policy = Arc::clone(&self.policy.borrow_and_update());
        let visibility = Visibility { policy, identity: self.identity.clone(), needed: self.needed };
        ReaderList { view, visibility }
    }

    /// Waits until there may be something new to see since the last look. Cancel-safe.
    ///
    /// # Errors
    /// The broker has ended.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.view.changed() => changed,
            changed = self.policy.changed() => changed,
        }
    }
}

impl ReaderList {
    /// The readers, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ReaderView>> {
        self.view.readers().filter(|reader| self.visibility.shows(&reader.names))
    }

    /// The reader of that name, `readers/{id}`, if the caller may see it.
    pub fn get(&self, name: &str) -> Option<&Arc<ReaderView>> {
        self.view.get(name).filter(|reader| self.visibility.shows(&reader.names))
    }

    /// All readers, those that the caller may not see among them.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// What the caller may see of them.
    pub(super) fn visibility(&self) -> &Visibility {
        &self.visibility
    }
}

impl Visibility {
    /// Whether the caller may see the reader of these names.
    pub(super) fn shows(&self, names: &ReaderNames) -> bool {
        let may = |operation: &Operation| self.policy.decide(&self.identity, names, *operation).allowed;
        self.policy.allows_everything(&self.identity) || self.needed.iter().all(may)
    }
}
