//! The isolation of one reader, and the wait for the end of the group that has raised the card's security state.

use cardbroker_core::turns::isolation;

use crate::caller::group::GroupMark;

/// Keeps the card's security state from passing between isolation groups. Owned by the actor.
#[derive(Debug, Default)]
pub(super) struct Isolation(isolation::Isolation<GroupMark>);

impl Isolation {
    /// Whether the card must be reset before `group` may use it.
    pub(super) fn demands_reset(&self, group: &GroupMark) -> bool {
        self.0.demands_reset(group, GroupMark::has_ended)
    }

    /// Records that `group` has used the card. `raised`: the card may hold security state since its last reset.
    pub(super) fn used(&mut self, group: &GroupMark, raised: bool) {
        self.0.used(group.clone(), raised);
    }

    /// Records that the card was reset or replaced.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// Whether the group that has raised the state has ended, so that no caller may use the state.
    pub(super) fn is_reset_due(&self) -> bool {
        self.0.is_reset_due(GroupMark::has_ended)
    }

    /// Waits until a reset may be due. Never completes if the card holds no state.
    pub(super) async fn reset_becomes_due(&self) {
        match self.0.raised_by() {
            Some(group) if !group.has_ended() => group.ended().await,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::caller::{Caller, CallerKey};

    use super::*;
    use crate::caller::group::{GroupKey, Groups};

    fn key(pid: u32) -> GroupKey {
        let Caller { key: caller @ CallerKey::Process { .. }, .. } = Caller::local(1, 0, 0, Some(pid), Some(1)) else {
            panic!("not a process");
        };
        GroupKey::Caller(caller)
    }

    #[test]
    fn an_ended_group_leaves_no_state_to_its_successor() {
        let groups = Groups::default();
        let (first, other) = (groups.join(key(1)), groups.join(key(2)));
        let mut isolation = Isolation::default();
        isolation.used(&first.mark(), true);
        assert!(!isolation.is_reset_due() && !isolation.demands_reset(&first.mark()));
        assert!(isolation.demands_reset(&other.mark()));
        drop(first);
        assert!(isolation.is_reset_due() && isolation.demands_reset(&groups.join(key(1)).mark()));
    }

    #[test]
    fn the_state_of_a_unit_without_a_group_is_reset() {
        let alone = GroupMark::alone();
        let mut isolation = Isolation::default();
        isolation.used(&alone, true);
        assert!(isolation.is_reset_due() && isolation.demands_reset(&alone));
        isolation.reset();
        assert!(!isolation.is_reset_due() && !isolation.demands_reset(&alone));
    }

    #[tokio::test]
    async fn the_wait_completes_when_the_group_ends() {
        let groups = Groups::default();
        let group = groups.join(key(1));
        let mut isolation = Isolation::default();
        isolation.used(&group.mark(), true);
        let mut waits = std::pin::pin!(isolation.reset_becomes_due());
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(group);
        assert!(futures_util::poll!(&mut waits).is_ready());
        assert!(isolation.is_reset_due());
    }
}
