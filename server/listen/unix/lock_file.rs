//! Lock files, which keep other processes away from a path as long as their holder lives.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// A lock beside a path. Dropping it releases the lock; the file stays, because without it two processes could lock two
/// files of the same name.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    /// Locks the file called like `guarded` with `.lock` at its end, without waiting. Makes it if it is missing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
    pub(super) fn take(guarded: &Path) -> io::Result<Self> {
        let mut path = guarded.as_os_str().to_owned();
        path.push(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let file = options.open(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.into(), file })
    }

    /// Whether other processes still meet this lock: the file may have gone, with its folder for example.
    pub(super) fn is_in_place(&self) -> bool {
        names(&self.path, &self.file)
    }
}

/// Whether `path` names the open `file`.
pub(super) fn names(path: &Path, file: &File) -> bool {
    file.metadata().is_ok_and(|kept| names_file(path, identity(&kept)))
}

/// Whether `path` names the file with this identity.
pub(super) fn names_file(path: &Path, kept: (u64, u64)) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| identity(&found) == kept)
}

/// Device and inode, which identify a file as long as it exists.
pub(super) fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
