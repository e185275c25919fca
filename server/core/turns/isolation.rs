//! Isolation groups, by number: callers that may inherit the card's security state from each other.
//! [`super::schedule`] decides when a reset is due between groups.

/// The number of an isolation group, unique in one run of the broker. A group that is created again with the same key
/// has a new number, so it inherits no security state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
