//! What one caller may see of the readers, by the rules that are in force at the moment of the look.

use std::sync::Arc;

use cardbroker_core::caller::Identity;
use tokio::sync::watch;

use crate::{
    policy::{ReaderNames, access::PolicyInForce, rule::Operation},
    registry::View,
};

/// The readers as one caller may see them. A value is replaced when something has changed, so that two can be compared
/// by pointer, reader by reader.
pub struct VisibleReaders {
    view: watch::Receiver<Arc<View>>,
    policy: PolicyInForce,
    identity: Identity,
    needed: &'static [Operation],
}

impl VisibleReaders {
    pub(super) fn new(
        view: watch::Receiver<Arc<View>>,
        policy: PolicyInForce,
        identity: Identity,
        needed: &'static [Operation],
    ) -> Self {
        Self { view, policy, identity, needed }
    }

    /// The readers as they are now.
    pub fn look(&mut self) -> Arc<View> {
        let view = self.view.borrow_and_update().clone();
        let policy = self.policy.borrow_and_update().clone();
        if policy.allows_everything(&self.identity) {
            return view;
        }
        let may = |names: &ReaderNames| {
            self.needed.iter().all(|operation| policy.decide(&self.identity, names, *operation).allowed)
        };
        let visible = view.iter().filter(|(_, reader)| may(&reader.names));
        Arc::new(visible.map(|(name, reader)| (name.clone(), Arc::clone(reader))).collect())
    }

    /// Waits until there may be something new to see. Cancel-safe.
    ///
    /// # Errors
    /// The broker has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.view.changed() => changed,
            changed = self.policy.changed() => changed,
        }
    }
}
