//! Users and groups of the operating system: numbers on Unix, SIDs on Windows. Both kinds exist on every system, so
//! that decisions are the same code everywhere; only `server/listen/` and `server/policy/accounts/` ask the system.

use std::{fmt, sync::Arc};

use crate::sid::Sid;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Number(u32),
    Sid(Sid),
}

/// A user of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemUser(Id);

/// A group of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemGroup(Id);

impl SystemUser {
    /// The user of Unix with this number.
    pub const fn unix(uid: u32) -> Self {
        Self(Id::Number(uid))
    }

    /// The user of Windows with this SID.
    pub const fn windows(sid: Sid) -> Self {
        Self(Id::Sid(sid))
    }

    /// The number; `None` for a user of Windows.
    pub fn uid(self) -> Option<u32> {
        self.0.number()
    }

    /// The SID; `None` for a user of Unix.
    pub fn sid(self) -> Option<Sid> {
        self.0.sid()
    }

    /// Whether this stands for a user whom a look-up did not find. No rule matches it.
    pub fn is_nobody(self) -> bool {
        self.sid() == Some(Sid::NOBODY)
    }
}

impl SystemGroup {
    /// The group of Unix with this number.
    pub const fn unix(gid: u32) -> Self {
        Self(Id::Number(gid))
    }

    /// The group of Windows with this SID.
    pub const fn windows(sid: Sid) -> Self {
        Self(Id::Sid(sid))
    }

    /// The number; `None` for a group of Windows.
    pub fn gid(self) -> Option<u32> {
        self.0.number()
    }

    /// The SID; `None` for a group of Unix.
    pub fn sid(self) -> Option<Sid> {
        self.0.sid()
    }
}

impl Id {
    fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Sid(_) => None,
        }
    }

    fn sid(self) -> Option<Sid> {
        match self {
            Self::Number(_) => None,
            Self::Sid(sid) => Some(sid),
        }
    }
}

/// Writes the number or the SID: `1000`, `S-1-5-18`.
impl fmt::Display for SystemUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for SystemUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Writes the number or the SID.
impl fmt::Display for SystemGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for SystemGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Sid(sid) => sid.fmt(formatter),
        }
    }
}

/// A user with the groups of one of its processes, as the system reported them at the connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Unix {
        uid: u32,
        gid: u32,
    },
    Windows {
        user: Sid,
        /// Sorted, each group once, so that equal sets are equal accounts.
        groups: Arc<[Sid]>,
    },
}

impl Account {
    /// A process of Unix with this effective user and this primary group.
    pub const fn unix(uid: u32, gid: u32) -> Self {
        Self(Kind::Unix { uid, gid })
    }

    /// A process of Windows with this user and these groups of its token: those that are enabled. A group that the
    /// token has for denials only, such as the administrators' in a process that is not elevated, does not belong here.
    pub fn windows(user: Sid, groups: impl IntoIterator<Item = Sid>) -> Self {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable();
        groups.dedup();
        Self(Kind::Windows { user, groups: groups.into() })
    }

    /// The user for whom the process acts.
    pub fn user(&self) -> SystemUser {
        match &self.0 {
            Kind::Unix { uid, .. } => SystemUser::unix(*uid),
            Kind::Windows { user, .. } => SystemUser::windows(*user),
        }
    }

    /// Whether the process has this group.
    pub fn is_in(&self, group: SystemGroup) -> bool {
        match (&self.0, group.0) {
            (Kind::Unix { gid, .. }, Id::Number(number)) => *gid == number,
            (Kind::Windows { groups, .. }, Id::Sid(sid)) => groups.binary_search(&sid).is_ok(),
            (Kind::Unix { .. }, Id::Sid(_)) | (Kind::Windows { .. }, Id::Number(_)) => false,
        }
    }

    /// Whether the process may do everything on the machine: root; on Windows the system, or an administrator's process
    /// with its rights in force.
    pub fn is_administrator(&self) -> bool {
        match &self.0 {
            Kind::Unix { uid, .. } => *uid == 0,
            Kind::Windows { user, .. } => *user == Sid::SYSTEM || self.is_in(SystemGroup::windows(Sid::ADMINISTRATORS)),
        }
    }
}

/// An example of a user: even numbers are users of Unix, odd ones those of a domain of Windows. Tests of decisions take
/// their users from here.
#[cfg(any(test, feature = "properties"))]
pub fn example(number: u32) -> SystemUser {
    match number % 2 {
        0 => SystemUser::unix(number),
        _ => SystemUser::windows(format!("S-1-5-21-7-7-7-{number}").parse().unwrap_or(Sid::NOBODY)),
    }
}

/// The account of a process of that [`example`], with no group that rules name.
#[cfg(any(test, feature = "properties"))]
pub fn example_account(number: u32) -> Account {
    match example(number).0 {
        Id::Number(uid) => Account::unix(uid, u32::MAX),
        Id::Sid(sid) => Account::windows(sid, []),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(text: &str) -> Sid {
        text.parse().unwrap()
    }

    #[test]
    fn users_of_both_systems_are_told_apart() {
        let users = [SystemUser::unix(18), SystemUser::windows(Sid::SYSTEM), SystemUser::windows(sid("S-1-5-19"))];
        assert_eq!(users.map(|user| user.to_string()), ["18", "S-1-5-18", "S-1-5-19"]);
        assert_eq!(users.map(SystemUser::uid), [Some(18), None, None]);
        assert!(users[0] < users[1] && users[1] < users[2]);
        let groups = [SystemGroup::unix(18), SystemGroup::windows(Sid::SYSTEM)];
        assert_eq!(format!("{:?} {:?}", users[0], groups[1]), "18 S-1-5-18");
        assert_eq!(groups.map(|group| (group.gid(), group.sid())), [(Some(18), None), (None, Some(Sid::SYSTEM))]);
        for number in 0..6 {
            let (user, account) = (example(number), example_account(number));
            assert_eq!((user == example(number + 2), account.user()), (false, user));
            assert_eq!((user.uid().is_some(), user.sid().is_some()), (number % 2 == 0, number % 2 == 1));
        }
    }

    #[test]
    fn groups_are_those_of_the_process() {
        let (staff, other) = (sid("S-1-5-21-1-2-3-1001"), sid("S-1-5-21-1-2-3-1002"));
        let anna = Account::windows(sid("S-1-5-21-1-2-3-500"), [staff, Sid::SYSTEM, staff]);
        let is_in = |group| anna.is_in(SystemGroup::windows(group));
        assert!(is_in(staff) && is_in(Sid::SYSTEM) && !is_in(other));
        assert!(!is_in(anna.user().sid().unwrap()), "a user is no group");
        assert!(!anna.is_in(SystemGroup::unix(1001)));
        assert_eq!(
            anna,
            Account::windows(sid("S-1-5-21-1-2-3-500"), [Sid::SYSTEM, staff]),
            "the order does not matter"
        );
        let bob = Account::unix(1000, 50);
        assert!(
            bob.is_in(SystemGroup::unix(50))
                && !bob.is_in(SystemGroup::unix(51))
                && !bob.is_in(SystemGroup::windows(staff))
        );
    }

    #[test]
    fn administrators_are_root_the_system_and_elevated_processes() {
        let anna = sid("S-1-5-21-1-2-3-500");
        for (account, expected) in [
            (Account::unix(0, 0), true),
            (Account::unix(1, 0), false),
            (Account::windows(Sid::SYSTEM, []), true),
            (Account::windows(Sid::NOBODY, []), false),
            (Account::windows(anna, [Sid::ADMINISTRATORS]), true),
            (Account::windows(anna, [sid("S-1-5-32-545")]), false),
            (Account::windows(Sid::ADMINISTRATORS, []), false),
        ] {
            assert_eq!(account.is_administrator(), expected, "{account:?}");
        }
    }
}
