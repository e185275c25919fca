//! One caller's view of the readers, by the rules that are in force at the moment.

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

/// The readers that one caller may see; each query uses the current policy.
pub struct VisibleReaders {
    view: watch::Receiver<Arc<View>>,
    policy: PolicyInForce,
    identity: Identity,
    needed: &'static [Operation],
}

/// The readers that one caller may see, at one moment. Drop it soon: while it is held, a change of a reader copies the
/// view.
pub struct ReaderList {
    view: Arc<View>,
    visibility: Visibility,
}

/// The visibility of readers for one caller under one policy.
#[derive(Clone)]
pub(super) struct Visibility {
    pub(super) policy: Arc<Policy>,
    pub(super) identity: Identity,
    needed: &'static [Operation],
}

impl VisibleReaders {
    /// Selects the readers of `view` at which `policy` allows `identity` all `needed` operations.
    pub(super) fn new(
        view: watch::Receiver<Arc<View>>,
        policy: PolicyInForce,
        identity: Identity,
        needed: &'static [Operation],
    ) -> Self {
        Self { view, policy, identity, needed }
    }

    /// Returns the readers as of now.
    pub fn list(&mut self) -> ReaderList {
        let view = Arc::clone(&self.view.borrow_and_update());
        let policy = Arc::clone(&self.policy.borrow_and_update());
        let visibility = Visibility { policy, identity: self.identity.clone(), needed: self.needed };
        ReaderList { view, visibility }
    }

    /// Returns the reader of this name, `readers/{id}`, if the caller may see it now. The next [`Self::changed`] is not
    /// affected.
    pub fn get(&self, name: &str) -> Option<Arc<ReaderView>> {
        let reader = self.view.borrow().get(name).cloned()?;
        shows(&self.policy.borrow(), &self.identity, self.needed, &reader.names).then_some(reader)
    }

    /// Waits until the readers may have changed since the last call. Cancel-safe.
    ///
    /// # Errors
    /// The broker has stopped.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.view.changed() => changed,
            changed = self.policy.changed() => changed,
        }
    }
}

impl ReaderList {
    /// Iterates over the readers, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ReaderView>> {
        self.view.readers().filter(|reader| self.visibility.shows(&reader.names))
    }

    /// Returns the reader of this name, `readers/{id}`, if the caller may see it.
    pub fn get(&self, name: &str) -> Option<&Arc<ReaderView>> {
        self.view.get(name).filter(|reader| self.visibility.shows(&reader.names))
    }

    /// The number of the broker's readers that came or went so far, those included that the caller may not see.
    pub fn moves(&self) -> u64 {
        self.view.moves()
    }

    /// All readers, including those that the caller may not see.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn visibility(&self) -> &Visibility {
        &self.visibility
    }
}

impl Visibility {
    /// Whether the caller may see the reader with these names.
    pub(super) fn shows(&self, names: &ReaderNames) -> bool {
        shows(&self.policy, &self.identity, self.needed, names)
    }
}

/// Whether `policy` allows `identity` all `needed` operations at the reader with these names.
fn shows(policy: &Policy, identity: &Identity, needed: &[Operation], names: &ReaderNames) -> bool {
    let may = |operation: &Operation| policy.decide(identity, names, *operation).allowed;
    policy.allows_everything(identity) || needed.iter().all(may)
}
