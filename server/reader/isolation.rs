//! What keeps the card's security state from passing between isolation groups, pure: who has raised it, and when a reset is due.

use crate::caller::group::GroupMark;

/// The reader's memory of who has left something in the card. Owned by the actor.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    raised_by: Option<GroupMark>,
}

impl Isolation {
    /// Whether the card must be reset before `group` may use it.
    pub(super) fn demands_reset(&self, group: &GroupMark) -> bool {
        self.raised_by.as_ref().is_some_and(|raised_by| !raised_by.is_of(group))
    }

    /// `group` has used the card; `raised` says whether something may be left in it since the last reset.
    pub(super) fn used(&mut self, group: &GroupMark, raised: bool) {
        self.raised_by = raised.then(|| group.clone());
    }

    /// The card was reset, or is another one.
    pub(super) fn reset(&mut self) {
        self.raised_by = None;
    }

    /// Whether what was left in the card has outlived those who may use it.
    pub(super) fn is_reset_due(&self) -> bool {
        self.raised_by.as_ref().is_some_and(GroupMark::has_ended)
    }

    /// Waits until a reset may have become due; for ever if nothing was raised.
    pub(super) async fn reset_becomes_due(&self) {
        match &self.raised_by {
            Some(group) if !group.has_ended() => group.ended().await,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::group::{GroupKey, Groups};
    use cardbroker_core::caller::{Caller, CallerKey};

    fn key(pid: u32) -> GroupKey {
        let Caller { key: caller @ CallerKey::Process { .. }, .. } = Caller::local(1, 0, 0, Some(pid), Some(1)) else {
            panic!("a process");
        };
        GroupKey::Caller(caller)
    }

    #[test]
    fn a_reset_stands_between_groups_once_something_was_raised() {
        let groups = Groups::default();
        let (a, b) = (groups.join(key(1)), groups.join(key(2)));
        let mut isolation = Isolation::default();
        isolation.used(&a.mark(), false);
        assert!(!isolation.demands_reset(&b.mark()));
        isolation.used(&a.mark(), true);
        assert!(isolation.demands_reset(&b.mark()) && !isolation.demands_reset(&a.mark()));
        isolation.reset();
        assert!(!isolation.demands_reset(&b.mark()));
    }

    #[test]
    fn a_group_that_has_ended_leaves_nothing_even_to_its_namesake() {
        let groups = Groups::default();
        let first = groups.join(key(1));
        let mut isolation = Isolation::default();
        isolation.used(&first.mark(), true);
        assert!(!isolation.is_reset_due());
        drop(first);
        assert!(isolation.is_reset_due() && isolation.demands_reset(&groups.join(key(1)).mark()));
    }
}
