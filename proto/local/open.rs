//! Opening files for reading at paths where something else than a regular file may lie.

use std::{fs::File, io, path::Path};

/// Opens a file. A pipe without a writer does not block.
///
/// # Errors
/// An error of the operating system.
#[cfg(unix)]
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    open(path, rustix::fs::OFlags::NONBLOCK)
}

/// Opens a file. Opening a pipe of Windows fails if it has no free instance, and does not wait.
///
/// # Errors
/// An error of the operating system.
#[cfg(not(unix))]
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Like [`open_without_waiting`]. A link in the file's place is not followed.
///
/// # Errors
/// An error of the operating system.
#[cfg(unix)]
pub fn open_without_following(path: &Path) -> io::Result<File> {
    open(path, rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW)
}

#[cfg(unix)]
fn open(path: &Path, flags: rustix::fs::OFlags) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}
