//! Other users, which only root can become.

use std::{
    fs,
    io::{self, Write},
};

use anyhow::ensure;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::geteuid;

/// Switches this process to that user, with that group and no other. Must run as root.
///
/// # Errors
/// An error of the operating system.
pub fn become_user(uid: u32, gid: u32) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(setgroups(&[]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid))?)
}

/// Whether this process can become other users: root can, except the root of a user namespace.
///
/// # Errors
/// It cannot, and in CI tests must not be skipped.
pub fn may_become_others() -> anyhow::Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let may = geteuid().is_root() && map.split_whitespace().nth(2) == Some("4294967295");
    ensure!(may || std::env::var_os("CI").is_none(), "only root can be several users");
    Ok(may)
}

/// As [`may_become_others`], and prints that the story is skipped if this process cannot.
///
/// # Errors
/// As [`may_become_others`].
pub fn may_be_several_users() -> anyhow::Result<bool> {
    let may = may_become_others()?;
    if !may {
        writeln!(io::stderr(), "skipped: only root can be several users")?;
    }
    Ok(may)
}
