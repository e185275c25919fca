//! The isolation groups of one connection: which one holds depends on the reader.

use cardbroker_core::caller::Caller;

use super::door::Entrance;
use crate::{
    caller::group::{self, GroupKey, GroupMark, Memberships, TooManyGroups},
    config::Isolation,
};

/// The groups that a connection has joined. Dropping it leaves them.
pub(super) struct Groups {
    process: GroupMark,
    user: GroupMark,
    _memberships: Memberships,
}

impl Groups {
    /// Joins the groups of `caller`. At a private door there is one group for all readers.
    ///
    /// # Errors
    /// [`TooManyGroups`], which does not happen to a new connection.
    pub(super) fn join(all: &group::Groups, caller: &Caller, entrance: Entrance) -> Result<Self, TooManyGroups> {
        let memberships = Memberships::default();
        let [process, user] = match entrance {
            Entrance::Main => [GroupKey::Caller(caller.key), GroupKey::programs(caller)],
            Entrance::Private { group, .. } => [group.clone(), group],
        };
        let (process, user) = (memberships.join(all, process)?, memberships.join(all, user)?);
        Ok(Self { process, user, _memberships: memberships })
    }

    /// The group of a turn at a reader with this isolation.
    pub(super) fn of(&self, isolation: Isolation) -> &GroupMark {
        match isolation {
            Isolation::Process => &self.process,
            Isolation::User => &self.user,
        }
    }
}
