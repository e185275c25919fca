//! Users and groups by number and name, and the owners of files.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

use super::groups;
use crate::doctor::facts::{File, Me};

/// The user of this process, with the groups that the process has and those that a login would get.
pub(super) fn me() -> Me {
    let (uid, gid) = (geteuid(), getegid());
    let user = User::from_uid(uid).ok().flatten();
    let mut groups = groups::of_process();
    groups.push(gid.as_raw());
    Me {
        uid: Some(uid.as_raw()),
        assigned: user.as_ref().map(groups::of_login).unwrap_or_default(),
        name: user.map(|user| user.name).unwrap_or_default(),
        groups,
    }
}

/// Owner and mode of a file; `None` if there is none, or this user cannot see it.
pub(super) fn file(path: &Path) -> Option<File> {
    let found = fs::symlink_metadata(path).ok()?;
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten();
    Some(File {
        path: path.into(),
        owner: user_name(found.uid()),
        gid: found.gid(),
        group: group.map_or_else(|| found.gid().to_string(), |group| group.name),
        mode: found.mode() & 0o7777,
    })
}

/// The name of a user, or the number of one without a name.
pub(super) fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The number of this process's user.
#[cfg(target_os = "linux")]
pub(super) fn own_uid() -> u32 {
    geteuid().as_raw()
}
