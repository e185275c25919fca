//! What keeps the card's security state from passing between isolation groups: who has raised it, and when a reset is due.

/// The number of an isolation group, unique in one run of the broker. A group that is opened anew under the same key has
/// a new number, so it inherits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(pub u64);

/// An isolation group, as one of its connections knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The group itself, whichever connection speaks of it.
    pub id: GroupId,
    /// The group's number among those of the connection, counted from 1 in the order in which it joined them; `None` for
    /// a unit or session that is alone. A number of all groups would tell of others.
    pub number: Option<u64>,
    /// Whether other callers may belong to the group too.
    pub is_shared: bool,
}

/// The reader's memory of the group that has left something in the card. Whether a group has ended is known outside:
/// `has_ended` says it.
#[derive(Debug, Default)]
pub struct Isolation {
    raised_by: Option<GroupId>,
}

impl Isolation {
    /// Whether the card must be reset before `group` may use it. A group that has ended leaves nothing to anybody.
    pub fn demands_reset(&self, group: GroupId, has_ended: impl FnOnce(GroupId) -> bool) -> bool {
        self.raised_by.is_some_and(|raised_by| raised_by != group || has_ended(raised_by))
    }

    /// Records that `group` has used the card; `raised` says whether something may be left in it since the last reset.
    pub fn used(&mut self, group: GroupId, raised: bool) {
        self.raised_by = raised.then_some(group);
    }

    /// Records that the card was reset, or is another one.
    pub fn reset(&mut self) {
        self.raised_by = None;
    }

    /// Whether the group that has left something in the card has ended, so that nobody may use it.
    pub fn is_reset_due(&self, has_ended: impl FnOnce(GroupId) -> bool) -> bool {
        self.raised_by.is_some_and(has_ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn lives(_: GroupId) -> bool {
        false
    }

    #[test]
    fn a_reset_stands_between_groups_once_something_was_raised() {
        let mut isolation = Isolation::default();
        isolation.used(A, false);
        assert!(!isolation.demands_reset(B, lives));
        isolation.used(A, true);
        assert!(isolation.demands_reset(B, lives) && !isolation.demands_reset(A, lives));
        isolation.reset();
        assert!(!isolation.demands_reset(B, lives));
    }

    #[test]
    fn a_group_that_has_ended_leaves_nothing_even_to_itself() {
        let mut isolation = Isolation::default();
        let mut asked = None;
        isolation.used(A, true);
        assert!(!isolation.is_reset_due(lives));
        assert!(isolation.is_reset_due(|group| asked.replace(group).is_none()));
        assert_eq!(asked, Some(A));
        assert!(isolation.demands_reset(A, |group| group == A) && isolation.demands_reset(B, |group| group == A));
        isolation.used(B, false);
        assert!(!isolation.is_reset_due(|_| true), "nothing is left in the card");
    }
}
