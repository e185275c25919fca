//! Users and groups of Unix, by the system's user database.

use std::io;

use cardbroker_core::{
    sid::Sid,
    user::{Account, SystemGroup, SystemUser},
};
use nix::unistd::{Group, User, getegid, geteuid};

use super::without_known_groups;

/// Another form of a user that has no such name.
pub(super) const OTHER_USER_FORM: &str = "its number (uid:1000)";
/// Another form of a group that has no such name.
pub(super) const OTHER_GROUP_FORM: &str = "its number (gid:1000)";

/// The user and the group that this process runs as.
pub(crate) fn own_account() -> Account {
    Account::unix(geteuid().as_raw(), getegid().as_raw())
}

/// The user with this login name.
pub(super) fn user(name: &str) -> io::Result<Option<SystemUser>> {
    Ok(User::from_name(name)?.map(|user| SystemUser::unix(user.uid.as_raw())))
}

/// The login name of a user.
pub(crate) fn user_name(user: SystemUser) -> Option<String> {
    Some(User::from_uid(user.uid()?.into()).ok()??.name)
}

/// The user with its primary group.
pub(super) fn account(user: SystemUser) -> io::Result<Account> {
    let Some(uid) = user.uid() else { return Ok(without_known_groups(user)) };
    let found = User::from_uid(uid.into())?;
    Ok(found.map_or_else(|| without_known_groups(user), |found| Account::unix(uid, found.gid.as_raw())))
}

/// The group of this name, and its listed members.
pub(crate) fn group(name: &str) -> io::Result<Option<(SystemGroup, Vec<SystemUser>)>> {
    let Some(group) = Group::from_name(name)? else { return Ok(None) };
    let mut members = Vec::with_capacity(group.mem.len());
    for member in &group.mem {
        // A listed member may not exist any more.
        members.extend(user(member)?);
    }
    Ok(Some((SystemGroup::unix(group.gid.as_raw()), members)))
}

/// The command that makes a group of this name.
pub(crate) fn command_for_new_group(name: &str) -> String {
    format!("groupadd {name}")
}

pub(super) fn is_user(_: Sid) -> bool {
    false
}
