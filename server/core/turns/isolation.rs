//! Isolation: keeps the card's security state from passing between groups. It stores the group that has raised the
//! state and decides when a reset is due.

/// The number of an isolation group, unique in one run of the broker. A group that is created again with the same key
/// has a new number, so it inherits no security state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(pub u64);

/// An isolation group, from the point of view of one of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The group's number for the broker, the same for all its connections.
    pub id: GroupId,
    /// The group's number among the groups of the connection, from 1 in the order of joining; `None` for a unit or
    /// session that is a group by itself. A number that counted all groups would reveal other callers.
    pub number: Option<u64>,
    /// Whether other callers may belong to the group too.
    pub is_shared: bool,
}

/// The isolation of one reader: the group that has raised the card's security state, if any. `G` identifies a group;
/// the argument `has_ended` says whether a group has ended.
#[derive(Debug)]
pub struct Isolation<G> {
    raised_by: Option<G>,
}

impl<G> Default for Isolation<G> {
    fn default() -> Self {
        Self { raised_by: None }
    }
}

impl<G: PartialEq> Isolation<G> {
    /// Whether the card must be reset before `group` may use it. The state of an ended group is for no other group.
    pub fn demands_reset(&self, group: &G, has_ended: impl FnOnce(&G) -> bool) -> bool {
        self.raised_by.as_ref().is_some_and(|raised_by| raised_by != group || has_ended(raised_by))
    }

    /// Records that `group` has used the card. `raised`: the card may hold security state since its last reset.
    pub fn used(&mut self, group: G, raised: bool) {
        self.raised_by = raised.then_some(group);
    }

    /// The group that has raised the card's security state; `None` if the card holds none.
    pub fn raised_by(&self) -> Option<&G> {
        self.raised_by.as_ref()
    }

    /// Records that the card was reset or replaced.
    pub fn reset(&mut self) {
        self.raised_by = None;
    }

    /// Whether the group that has raised the state has ended, so that no caller may use the state.
    pub fn is_reset_due(&self, has_ended: impl FnOnce(&G) -> bool) -> bool {
        self.raised_by.as_ref().is_some_and(has_ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn lives(_: &GroupId) -> bool {
        false
    }

    #[test]
    fn raised_state_demands_a_reset_between_groups() {
        let mut isolation = Isolation::default();
        isolation.used(A, false);
        assert!(!isolation.demands_reset(&B, lives));
        isolation.used(A, true);
        assert!(isolation.demands_reset(&B, lives) && !isolation.demands_reset(&A, lives));
        isolation.reset();
        assert!(!isolation.demands_reset(&B, lives));
    }

    #[test]
    fn an_ended_group_makes_a_reset_due() {
        let mut isolation = Isolation::default();
        let mut asked = None;
        isolation.used(A, true);
        assert!(!isolation.is_reset_due(lives));
        assert!(isolation.is_reset_due(|group| asked.replace(*group).is_none()));
        assert_eq!(asked, Some(A));
        assert!(isolation.demands_reset(&A, |group| *group == A) && isolation.demands_reset(&B, |group| *group == A));
        isolation.used(B, false);
        assert!(!isolation.is_reset_due(|_| true), "the card holds no state");
    }
}
