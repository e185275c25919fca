//! The isolation of one reader, and the wait for the end of the group that has raised the card's security state.

use cardbroker_core::turns::isolation;

use crate::caller::group::GroupMark;

/// Keeps the card's security state from passing between isolation groups. Owned by the actor.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    decisions: isolation::Isolation,
    /// The group that has raised the card's security state; its end makes a reset due.
    raised_by: Option<GroupMark>,
}

impl Isolation {
    /// Whether the card must be reset before `group` may use it.
    pub(super) fn demands_reset(&self, group: &GroupMark) -> bool {
        self.decisions.demands_reset(group.id(), |_| self.has_ended())
    }

    /// Records that `group` has used the card. `raised`: the card may hold security state since its last reset.
    pub(super) fn used(&mut self, group: &GroupMark, raised: bool) {
        self.decisions.used(group.id(), raised);
        self.raised_by = raised.then(|| group.clone());
    }

    /// Records that the card was reset or replaced.
    pub(super) fn reset(&mut self) {
        self.decisions.reset();
        self.raised_by = None;
    }

    /// Whether the group that has raised the state has ended, so that no caller may use the state.
    pub(super) fn is_reset_due(&self) -> bool {
        self.decisions.is_reset_due(|_| self.has_ended())
    }

    /// Waits until a reset may be due. Never completes if the card holds no state.
    pub(super) async fn reset_becomes_due(&self) {
        match &self.raised_by {
            Some(group) if !group.has_ended() => group.ended().await,
            _ => std::future::pending().await,
        }
    }

    fn has_ended(&self) -> bool {
        self.raised_by.as_ref().is_some_and(GroupMark::has_ended)
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
