//! Isolation groups: the callers that may share a card's security state. A group exists while one of its connections is
//! open.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use cardbroker_core::{
    caller::{Caller, CallerKey, Identity, Principal},
    turns::isolation::{self, GroupId},
};
use tokio_util::sync::CancellationToken;

/// The longest key of a shared group, in characters.
pub const MAX_KEY_CHARACTERS: usize = 128;

/// The identity of a group: requests with equal keys belong to one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// The group of one caller, the default.
    Caller(CallerKey),
    /// The PC/SC programs of one principal, where the configuration makes them one group.
    Programs(Principal),
    /// The callers of one principal that have sent the same key.
    Shared {
        /// The principal. It keeps other principals out, even if they guess the key.
        principal: Principal,
        /// The key from the request, a secret of the group's members. It is never printed.
        key: SharedKey,
    },
}

/// The key of a shared group. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SharedKey(String);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl GroupKey {
    /// The group of `caller`: its own, or a shared one if the request has a `key`. `None` for the holder of a token
    /// without a key: several programs may share one connection, so each of its units and sessions is a group by
    /// itself. A client without a known user shares no group.
    pub fn new(caller: &Caller, key: Option<&str>) -> Option<Self> {
        match (key, &caller.identity) {
            // Another client without a known user may be another user's.
            (_, Identity::Unknown) => Some(Self::Caller(caller.key)),
            (Some(key), _) => Some(Self::Shared { principal: caller.principal(), key: SharedKey(key.to_owned()) }),
            (None, Identity::User(_)) => Some(Self::Caller(caller.key)),
            (None, Identity::Token(_)) => None,
        }
    }

    /// The group of the PC/SC programs of the caller's principal. A program without a known user shares no group.
    pub fn programs(caller: &Caller) -> Self {
        match caller.identity {
            Identity::Unknown => Self::Caller(caller.key),
            Identity::User(_) | Identity::Token(_) => Self::Programs(caller.principal()),
        }
    }
}

/// The groups that one connection has joined and keeps in existence. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub struct Memberships(Arc<Mutex<Vec<Arc<Group>>>>);

/// The error of a connection that has joined the maximum number of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection joins at most {MAX_MEMBERSHIPS} groups: use another connection")]
pub struct TooManyGroups;

/// The most groups that one connection may join.
const MAX_MEMBERSHIPS: usize = 16;

impl Memberships {
    /// Joins the connection to the group of `key`, and numbers the group.
    ///
    /// # Errors
    /// [`TooManyGroups`] if the connection has joined 16 other groups.
    pub fn join(&self, groups: &Groups, key: GroupKey) -> Result<GroupMark, TooManyGroups> {
        let mut joined = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match joined.iter().position(|group| group.key == key) {
            Some(place) => place,
            None if joined.len() >= MAX_MEMBERSHIPS => return Err(TooManyGroups),
            None => {
                joined.push(groups.join(key));
                joined.len() - 1
            }
        };
        let mut mark = joined[place].mark();
        mark.group.number = Some(place as u64 + 1);
        Ok(mark)
    }
}

/// All groups with members. Clones share the table.
#[derive(Debug, Clone, Default)]
pub struct Groups(Arc<Mutex<HashMap<GroupKey, Weak<Group>>>>);

/// A group. Every connection that has joined it holds a reference; the group ends when the last one is dropped.
#[derive(Debug)]
pub struct Group {
    id: GroupId,
    key: GroupKey,
    ended: CancellationToken,
    groups: Groups,
}

impl Groups {
    /// Returns the group of `key`; creates it if it has no members.
    pub fn join(&self, key: GroupKey) -> Arc<Group> {
        let mut groups = self.lock();
        if let Some(group) = groups.get(&key).and_then(Weak::upgrade) {
            return group;
        }
        let (ended, groups_of_all) = (CancellationToken::new(), self.clone());
        let group = Arc::new(Group { id: next_id(), key: key.clone(), ended, groups: groups_of_all });
        groups.insert(key, Arc::downgrade(&group));
        group
    }

    /// Every change is a single call of the map, so a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<GroupKey, Weak<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Returns a reference to the group that does not keep it in existence.
    pub fn mark(self: &Arc<Self>) -> GroupMark {
        let is_shared = matches!(self.key, GroupKey::Shared { .. });
        let group = isolation::Group { id: self.id, number: None, is_shared };
        GroupMark { group, ended: self.ended.clone() }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.ended.cancel();
        let mut groups = self.groups.lock();
        // Another connection may have created a new group with this key by now.
        if groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(&self.key);
        }
    }
}

/// Returns the id of a new group, unique in this run of the broker.
fn next_id() -> GroupId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    GroupId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A reference to a group that does not keep it in existence. It identifies the group by its id: while the last member
/// leaves, a new group with the same key may exist already.
#[derive(Debug, Clone)]
pub struct GroupMark {
    group: isolation::Group,
    ended: CancellationToken,
}

impl GroupMark {
    /// The mark of a unit or session that is a group by itself. No connection can join it, so it counts as ended from
    /// the start, and the card is reset right after it.
    pub fn alone() -> Self {
        let ended = CancellationToken::new();
        ended.cancel();
        Self { group: isolation::Group { id: next_id(), number: None, is_shared: false }, ended }
    }

    /// The id of the group, unique in this run of the broker.
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// See [`isolation::Group::number`]; `None` for a unit or session that is a group by itself.
    pub fn number(&self) -> Option<u64> {
        self.group.number
    }

    /// Whether other callers may belong to the group too.
    pub fn is_shared(&self) -> bool {
        self.group.is_shared
    }

    /// Whether the last member of the group has left.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until the last member has left.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::user::example_account;

    use super::*;

    fn caller(pid: u32, user: u32) -> Caller {
        Caller::local(u64::from(pid), example_account(user), Some(pid), Some(1))
    }

    #[test]
    fn a_group_ends_with_its_last_connection() {
        let groups = Groups::default();
        let key = GroupKey::new(&caller(1, 0), None).unwrap();
        let (first, second) = (groups.join(key.clone()), groups.join(key.clone()));
        let mark = first.mark();
        drop(first);
        assert!(!mark.has_ended());
        drop(second);
        assert!(mark.has_ended() && groups.lock().is_empty());
    }

    #[test]
    fn a_group_created_again_has_a_new_id() {
        let groups = Groups::default();
        let key = GroupKey::new(&caller(1, 0), None).unwrap();
        let mark = groups.join(key.clone()).mark();
        let again = groups.join(key.clone());
        assert_ne!(mark.id(), again.mark().id());
        assert_eq!(again.mark().id(), groups.join(key).mark().id(), "a member of the same group");
    }

    #[test]
    fn a_connection_numbers_its_own_groups() {
        let (groups, memberships) = (Groups::default(), Memberships::default());
        let _of_others = groups.join(GroupKey::new(&caller(9, 9), None).unwrap());
        let join = |key| memberships.join(&groups, GroupKey::new(&caller(1, 0), key).unwrap()).unwrap().number();
        assert_eq!(
            [join(None), join(Some("k")), join(Some("l")), join(Some("k"))],
            [Some(1), Some(2), Some(3), Some(2)]
        );
    }

    #[test]
    fn a_key_joins_only_the_processes_of_one_user() {
        let key = |pid, user, key| GroupKey::new(&caller(pid, user), key);
        assert_eq!(key(1, 7, Some("k")), key(2, 7, Some("k")));
        assert_ne!(key(1, 7, Some("k")), key(2, 8, Some("k")));
        assert_ne!(key(1, 7, Some("k")), key(2, 9, Some("k")), "of the same kind");
        assert_ne!(key(1, 7, Some("k")), key(2, 7, Some("l")));
        assert_ne!(key(1, 7, None), key(2, 7, None));
        assert_eq!(format!("{:?}", SharedKey("secret".into())), "[redacted]");
    }

    #[test]
    fn clients_without_a_known_user_share_no_group() {
        let key = |connection| GroupKey::new(&Caller::unknown(connection, Some(1)), Some("k"));
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
        let programs = |connection| GroupKey::programs(&Caller::unknown(connection, Some(1)));
        assert_ne!(programs(1), programs(2));
        assert_eq!(GroupKey::programs(&caller(1, 7)), GroupKey::programs(&caller(2, 7)));
    }

    #[test]
    fn a_token_without_a_key_has_no_group() {
        let holder = |name: &str| Caller::remote(1, name.into());
        assert_eq!(GroupKey::new(&holder("a"), None), None);
        assert_eq!(GroupKey::new(&holder("a"), Some("k")), GroupKey::new(&holder("a"), Some("k")));
        assert_ne!(GroupKey::new(&holder("a"), Some("k")), GroupKey::new(&holder("b"), Some("k")));
        let (one, other) = (GroupMark::alone(), GroupMark::alone());
        assert!(one.has_ended() && one.id() != other.id());
        assert_eq!(one.number(), None);
    }
}
