//! Users and groups of systems without numbers, as long as nothing here asks Windows: this process is nobody, so that
//! no caller is taken for the broker's own user, and only SIDs name users in rules.

use std::io;

use cardbroker_core::{
    sid::Sid,
    user::{Account, SystemGroup, SystemUser},
};

use super::without_known_groups;

/// Another form of a user that has no such name.
pub(super) const OTHER_USER_FORM: &str = "its SID (sid:S-1-…)";
/// Another form of a group that has no such name.
pub(super) const OTHER_GROUP_FORM: &str = "its SID (sid:S-1-…)";

/// Nobody: no caller has this user.
pub(crate) fn own_account() -> Account {
    Account::windows(Sid::NOBODY, [])
}

pub(super) fn user(_: &str) -> io::Result<Option<SystemUser>> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn user_name(_: SystemUser) -> Option<String> {
    None
}

pub(super) fn account(user: SystemUser) -> io::Result<Account> {
    Ok(without_known_groups(user))
}

pub(crate) fn group(_: &str) -> io::Result<Option<(SystemGroup, Vec<SystemUser>)>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The command that makes a group of this name.
pub(crate) fn command_for_new_group(name: &str) -> String {
    format!("net localgroup {name} /add")
}

/// No SID is known as a user's, so no rule that denies may name one.
pub(super) fn is_user(_: Sid) -> bool {
    false
}
