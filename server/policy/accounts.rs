//! Looks up users and groups of the system by the names in a configuration.

use cardbroker_core::{caller::Identity, policy::principal::Accounts};

/// The accounts of this machine, by the system's own look-up, which may query a directory server.
pub(crate) struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn own_user(&self) -> u32 {
        own_user()
    }

    fn user_id(&self, name: &str) -> Result<u32, String> {
        match look_up::user_id(name) {
            Ok(Some(uid)) => Ok(uid),
            Ok(None) => Err(format!("there is no user `{name}`: use another name, or a number (uid:1000)")),
            Err(error) => Err(format!("cannot look up user `{name}`: {error}")),
        }
    }

    fn group(&self, name: &str) -> Result<(u32, Vec<u32>), String> {
        match look_up::group(name) {
            Ok(Some(group)) => Ok(group),
            Ok(None) => Err(format!("there is no group `{name}`: use another name, or a number (gid:1000)")),
            Err(error) => Err(format!("cannot look up group `{name}`: {error}")),
        }
    }
}

pub(crate) use look_up::{own_user, user_name};

/// Parses a caller: `self`, `user:NAME`, `uid:NUMBER` or `token:NAME`. A user gets the primary group of the account.
///
/// # Errors
/// The text has another form, or the user does not exist.
pub fn identity(text: &str) -> Result<Identity, String> {
    let user = |uid| match look_up::primary_group(uid) {
        Ok(gid) => Ok(Identity::User { uid, gid: gid.unwrap_or(uid) }),
        Err(error) => Err(format!("cannot look up user {uid}: {error}")),
    };
    match text.split_once(':') {
        None if text == "self" => user(own_user()),
        Some(("user", name)) => user(SystemAccounts.user_id(name)?),
        Some(("uid", uid)) => user(uid.parse().map_err(|_| format!("`{uid}` is not the number of a user"))?),
        Some(("token", name)) if !name.is_empty() => Ok(Identity::Token(name.into())),
        _ => Err(format!("`{text}` is not a principal: use self, user:NAME, uid:NUMBER or token:NAME")),
    }
}

/// The look-up in the system's user database.
#[cfg(unix)]
pub(crate) mod look_up {
    use std::io;

    use nix::unistd::{Group, User, geteuid};

    /// The user that this process runs as.
    pub(crate) fn own_user() -> u32 {
        geteuid().as_raw()
    }

    pub(crate) fn user_id(name: &str) -> io::Result<Option<u32>> {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    pub(crate) fn user_name(uid: u32) -> Option<String> {
        User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
    }

    pub(crate) fn primary_group(uid: u32) -> io::Result<Option<u32>> {
        Ok(User::from_uid(uid.into())?.map(|user| user.gid.as_raw()))
    }

    pub(crate) fn group(name: &str) -> io::Result<Option<(u32, Vec<u32>)>> {
        let Some(group) = Group::from_name(name)? else { return Ok(None) };
        let mut members = Vec::with_capacity(group.mem.len());
        for member in &group.mem {
            // A listed member may not exist any more.
            members.extend(user_id(member)?);
        }
        Ok(Some((group.gid.as_raw(), members)))
    }
}

/// The replacement for systems without user numbers.
#[cfg(not(unix))]
pub(crate) mod look_up {
    use std::io;

    /// Always 0: these systems have no user numbers, and callers use tokens.
    pub(crate) fn own_user() -> u32 {
        0
    }

    pub(crate) fn user_id(_: &str) -> io::Result<Option<u32>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn user_name(_: u32) -> Option<String> {
        None
    }

    pub(crate) fn primary_group(_: u32) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub(crate) fn group(_: &str) -> io::Result<Option<(u32, Vec<u32>)>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_this_process_is_found_by_its_name() {
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap();
        assert_eq!(SystemAccounts.group(&group.name).unwrap().0, group.gid.as_raw());
        assert!(SystemAccounts.group("no such group").unwrap_err().starts_with("there is no group `no such group`"));
    }
}
