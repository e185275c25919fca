//! Owner, mode and lock of files on Unix.

use std::{
    fs::{DirBuilder, File, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::geteuid,
};

use super::{PrivateFileError, folder_of};
pub(super) use crate::secret_mount::is_mounted_secret;

/// The remedy for a file of another user.
pub(super) const CHANGE_OWNER: &str = "change its owner with chown";

/// Files have a mode here, and no such access list.
pub(super) const CLOSE_TO_OTHERS: &str = "chmod 600 it";

/// Takes a lock on a folder, without waiting; the result holds it until it is dropped. Processes that ask for the same
/// lock exclude each other.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
pub fn lock_folder(folder: &Path) -> io::Result<impl Sized + use<>> {
    let folder = File::open(folder)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// Gives a new file of root's to the user who owns the file at `path`, or else its folder; other users keep theirs.
///
/// # Errors
/// An error of the operating system.
pub fn give_to_owner_of(path: &Path, file: &File) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = path.symlink_metadata().or_else(|_| folder_of(path).metadata())?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Creates a folder and its missing parents, accessible by their owner only.
///
/// # Errors
/// An error of the operating system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Creates a file, accessible by its owner only, and opens it for reading and writing.
///
/// # Errors
/// An error of the operating system; [`io::ErrorKind::AlreadyExists`] if there is something at the path.
pub fn create_new(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Whether opening failed because the file is a socket, or a device without a driver.
pub(super) fn is_no_file(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NXIO)
}

pub(super) fn check_access(_: &File, found: &Metadata) -> Result<(), PrivateFileError> {
    if ![0, geteuid().as_raw()].contains(&found.uid()) {
        return Err(PrivateFileError::Foreign);
    }
    check_mode(found)
}

pub(super) fn check_mode(found: &Metadata) -> Result<(), PrivateFileError> {
    match found.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(PrivateFileError::Loose { mode }),
        _ => Ok(()),
    }
}

pub(super) fn is_root() -> bool {
    geteuid().is_root()
}
