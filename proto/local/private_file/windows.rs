//! Owner and lock of files on Windows. Access lists are not looked at.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io,
    path::Path,
};

use cardbroker_pipe::{own_user, owner_of_file};

use super::PrivateFileError;
use crate::socket::TRUSTED_OWNERS;

/// The remedy for a file of another user.
pub(super) const CHANGE_OWNER: &str = "change its owner (icacls FILE /setowner USER)";

/// Takes the lock of a folder, without waiting; the result holds it until it is dropped. Processes that ask for the
/// same lock exclude each other. The lock is a file in the folder, which stays.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
pub fn lock_folder(folder: &Path) -> io::Result<impl Sized + use<>> {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join(".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A new file belongs to the user who makes it.
///
/// # Errors
/// None.
pub fn give_to_owner_of(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

/// A new folder has the access list of the one above.
pub(super) fn prepare_folder(_: &mut DirBuilder) {}

/// A new file has the access list of its folder.
pub(super) fn prepare_file(_: &mut OpenOptions) {}

pub(super) fn is_no_file(_: &io::Error) -> bool {
    false
}

/// The file's owner could change its access list at any time.
pub(super) fn check_access(file: &File, _: &Metadata) -> Result<(), PrivateFileError> {
    let owner = owner_of_file(file)?;
    let is_trusted = TRUSTED_OWNERS.contains(&owner.as_str()) || owner == own_user()?;
    if is_trusted { Ok(()) } else { Err(PrivateFileError::Foreign) }
}

pub(super) fn check_mode(_: &Metadata) -> Result<(), PrivateFileError> {
    Ok(())
}

/// No user reads the files of all others here.
pub(super) fn is_root() -> bool {
    false
}

pub(super) fn is_mounted_secret(_: &Path, _: &Metadata) -> bool {
    false
}
