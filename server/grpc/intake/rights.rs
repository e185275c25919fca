//! The rights of users that are needed before a request is read, kept until the policy changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cardbroker_core::{
    caller::Identity,
    error::Failure,
    policy::{Policy, rule::Operation},
};

use super::{OPEN_SESSION, TRANSMIT, budget::Entitlement};
use crate::{
    broker::not_found,
    policy::access::{PolicyInForce, denial},
};

/// The users whose rights are kept at a time.
const MAX_KEPT: usize = 1_024;

/// The rights of one user, whatever the reader.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    /// The rules that deny an operation at every reader.
    see: Option<Arc<str>>,
    transmit: Option<Arc<str>>,
    session: Option<Arc<str>>,
    /// Whether the user is an operator of what concerns no single reader.
    operates: bool,
}

impl Rights {
    fn new(policy: &Policy, who: &Identity) -> Self {
        let denied = |operation| policy.denied_everywhere(who, operation);
        let mut operations = Operation::ALL.into_iter().filter(|operation| operation.is_for_operators());
        Self {
            see: denied(Operation::See),
            transmit: denied(Operation::Transmit),
            session: denied(Operation::Session),
            operates: operations.any(|operation| policy.decide_everywhere(who, operation).allowed),
        }
    }

    /// The class of the user, which determines its limits.
    pub(super) fn entitlement(&self) -> Entitlement {
        if self.see.is_none() || self.operates { Entitlement::Member } else { Entitlement::Stranger }
    }

    /// Checks the call of a method that runs commands, whatever its message names. `record` receives a denial.
    ///
    /// # Errors
    /// [`ReaderNotFound`](cardbroker_core::error::Reason::ReaderNotFound), as for any reader that the caller may not
    /// see, if it may see none; else [`Denied`](cardbroker_core::error::Reason::Denied) if no reader allows it.
    pub(super) fn check(&self, method: &str, record: impl Fn(Operation, &Arc<str>)) -> Result<(), Failure> {
        let (operation, denied) = match method {
            TRANSMIT => (Operation::Transmit, &self.transmit),
            OPEN_SESSION => (Operation::Session, &self.session),
            _ => return Ok(()),
        };
        if let Some(rule) = &self.see {
            record(Operation::See, rule);
            return Err(not_found());
        }
        let Some(rule) = denied else { return Ok(()) };
        record(operation, rule);
        Err(denial(Arc::clone(rule), operation.as_str()))
    }
}

/// The rights of the users that have sent requests. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct KnownRights {
    policy: PolicyInForce,
    kept: Arc<Mutex<Kept>>,
}

/// The rights of users under one policy.
#[derive(Debug, Default)]
struct Kept {
    /// The revision of the policy.
    revision: u64,
    rights: HashMap<Identity, Arc<Rights>>,
}

impl KnownRights {
    pub(super) fn new(policy: PolicyInForce) -> Self {
        Self { policy, kept: Arc::default() }
    }

    /// The rights of a user under the policy in force.
    pub(super) fn of(&self, who: &Identity) -> Arc<Rights> {
        let policy = self.policy.borrow();
        // Every change leaves the map consistent, so a panic elsewhere does no harm.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.revision != policy.revision() {
            *kept = Kept { revision: policy.revision(), rights: HashMap::new() };
        }
        if let Some(known) = kept.rights.get(who) {
            return Arc::clone(known);
        }
        if kept.rights.len() >= MAX_KEPT {
            kept.rights.clear();
        }
        let rights = Arc::new(Rights::new(&policy, who));
        kept.rights.insert(who.clone(), Arc::clone(&rights));
        rights
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{
        caller::{Caller, TokenId},
        error::Reason::{Denied, ReaderNotFound},
        user::{SystemUser, example_account},
    };
    use tokio::sync::watch;

    use super::*;
    use crate::config::Config;

    const OWNER: SystemUser = SystemUser::unix(0);

    fn policy(rules: &str) -> Policy {
        Policy::new(Config::parse("c.toml".as_ref(), rules).unwrap().rules, OWNER)
    }

    #[test]
    fn rights_are_those_of_the_policy_in_force() {
        let see = policy("rule = [{ name = 'look', principals = ['anyone'], allow = ['see'] }]");
        let (sender, policy_in_force) = watch::channel(Arc::new(see));
        let known = KnownRights::new(policy_in_force);
        let caller = Caller::remote(1, TokenId::from("ci"));
        let told = |method| known.of(&caller.identity).check(method, |_, _| {}).map_err(|failure| failure.reason);
        for _ in 0..2 {
            assert_eq!([TRANSMIT, OPEN_SESSION, "/other"].map(told), [Err(Denied), Err(Denied), Ok(())]);
        }
        let units = policy("rule = [{ name = 'units', principals = ['token:ci'], allow = ['see', 'transmit'] }]");
        sender.send_replace(Arc::new(units.with_revision(1)));
        assert_eq!([TRANSMIT, OPEN_SESSION].map(told), [Ok(()), Err(Denied)]);
        sender.send_replace(Arc::new(Policy::new(Vec::new(), OWNER).with_revision(2)));
        assert_eq!([TRANSMIT, OPEN_SESSION].map(told), [Err(ReaderNotFound), Err(ReaderNotFound)]);
        assert_eq!(known.of(&caller.identity).entitlement(), Entitlement::Stranger);
    }

    #[test]
    fn the_kept_rights_are_bounded() {
        let (_sender, policy_in_force) = watch::channel(Arc::new(Policy::new(Vec::new(), OWNER)));
        let known = KnownRights::new(policy_in_force);
        for user in 0..3 * MAX_KEPT as u32 {
            known.of(&Identity::User(example_account(user)));
        }
        assert!(known.kept.lock().unwrap().rights.len() <= MAX_KEPT);
    }
}
