//! The groups of this process, and those that a login of its user would get. macOS does not tell the latter.

use nix::unistd::User;

/// The supplementary groups of this process.
pub(super) fn of_process() -> Vec<u32> {
    let groups = rustix::process::getgroups().unwrap_or_default();
    groups.into_iter().map(rustix::process::Gid::as_raw).collect()
}

/// The groups that a login of the user would get; empty if the system does not tell them.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn of_login(user: &User) -> Vec<u32> {
    let name = std::ffi::CString::new(user.name.as_str()).ok();
    let groups = name.and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok()).unwrap_or_default();
    groups.into_iter().map(nix::unistd::Gid::as_raw).collect()
}

/// The groups that a login of the user would get: unknown.
#[cfg(target_vendor = "apple")]
pub(super) fn of_login(_user: &User) -> Vec<u32> {
    Vec::new()
}
