//! Files with permissions or secrets: used only if no other user can read or change them. On Windows owner and access
//! list say who can.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::open::open_without_waiting;

#[cfg(windows)]
mod machine;
#[cfg(unix)]
#[path = "unix.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;

#[cfg(windows)]
pub use self::machine::{excess_for_service, replaceable};
use self::os::{check_access, check_mode, is_mounted_secret, is_no_file, is_root};
pub use self::os::{create_folder, create_new, give_to_owner_of, lock_folder};
#[cfg(windows)]
pub use self::os::{excess, is_changeable_by_others, lock_file};

/// The maximum size of a private file, in bytes.
pub const MAX_PRIVATE_BYTES: u64 = 1 << 20;

/// Why a private file is not used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The operating system did not open or read it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a pipe or the like.
    #[error("is not a regular file")]
    NotRegular,
    /// Longer than [`MAX_PRIVATE_BYTES`] bytes in all.
    #[error("is longer than 1 MiB")]
    TooLong,
    /// Owned by neither this user nor root, or on Windows SYSTEM and the administrators.
    #[error("belongs to another user: {}", os::CHANGE_OWNER)]
    Foreign,
    /// The file's mode gives access to other users.
    #[error("is open to others (its mode is {mode:04o}): chmod 600 it")]
    Loose {
        /// The permission bits of the mode.
        mode: u32,
    },
    /// The file's access list on Windows gives access to other users.
    #[error("{problem}: {}", os::CLOSE_TO_OTHERS)]
    Shared {
        /// An account and the right that it must not have, as the end of a sentence about the file.
        problem: String,
    },
}

/// Opens a regular file of this user, or of root, that no other user can read or change.
///
/// # Errors
/// [`PrivateFileError`] if the file cannot be used, whatever it contains.
pub fn open(path: &Path) -> Result<File, PrivateFileError> {
    open_checked(path, check_access).map(|(file, _)| file)
}

/// Like [`open`]; root also opens the files of other users, to explain their meaning.
///
/// # Errors
/// The same as of [`open`].
pub fn open_as_administrator(path: &Path) -> Result<File, PrivateFileError> {
    open_checked(path, check_access_as_administrator).map(|(file, _)| file)
}

/// Reads the first [`MAX_PRIVATE_BYTES`] bytes of a file. Returns them, and whether they are the whole file. They wipe
/// themselves.
///
/// # Errors
/// An error of the operating system.
pub fn read_beginning(file: &File) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let size = file.metadata()?.len();
    let (limit, is_whole) = (size.min(MAX_PRIVATE_BYTES), size <= MAX_PRIVATE_BYTES);
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize + 1));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes, is_whole))
}

/// Reads a regular file of this user, or of root, that no other user can read or change. The text wipes itself.
///
/// # Errors
/// [`PrivateFileError`] if the file cannot be used.
pub fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    read_checked(path, check_access)
}

/// Like [`read`]; other users may also read a secret that an orchestrator has mounted: root's own,
/// on a read-only mount or on a tmpfs for secrets alone. For clients.
///
/// # Errors
/// [`PrivateFileError`] if the file cannot be used.
pub fn read_or_mounted(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    read_checked(path, |file, found| match check_access(file, found) {
        Err(PrivateFileError::Loose { .. }) if is_mounted_secret(path, found) => Ok(()),
        checked => checked,
    })
}

/// Like [`read`]; root also reads the files of other users, to explain their meaning.
///
/// # Errors
/// [`PrivateFileError`] if the file cannot be used.
pub fn read_as_administrator(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    read_checked(path, check_access_as_administrator)
}

/// Like [`read_as_administrator`], to edit the file. Root follows no link: the file's owner could set it to any file.
///
/// # Errors
/// [`PrivateFileError`] if the file cannot be used.
pub fn read_to_edit(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    match path.symlink_metadata() {
        Ok(found) if is_root() && found.is_symlink() => Err(PrivateFileError::NotRegular),
        _ => read_as_administrator(path),
    }
}

fn read_checked(
    path: &Path,
    check: impl Fn(&File, &Metadata) -> Result<(), PrivateFileError>,
) -> Result<Zeroizing<String>, PrivateFileError> {
    let (file, found) = open_checked(path, check)?;
    if found.len() > MAX_PRIVATE_BYTES {
        return Err(PrivateFileError::TooLong);
    }
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut text = Zeroizing::new(String::with_capacity(found.len() as usize + 1));
    file.take(found.len()).read_to_string(&mut text)?;
    Ok(text)
}

fn open_checked(
    path: &Path,
    check: impl Fn(&File, &Metadata) -> Result<(), PrivateFileError>,
) -> Result<(File, Metadata), PrivateFileError> {
    let file = open_without_waiting(path).map_err(|error| match is_no_file(&error) {
        true => PrivateFileError::NotRegular,
        false => error.into(),
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(PrivateFileError::NotRegular);
    }
    check(&file, &found)?;
    Ok((file, found))
}

fn check_access_as_administrator(file: &File, found: &Metadata) -> Result<(), PrivateFileError> {
    match check_access(file, found) {
        Err(PrivateFileError::Foreign) if is_root() => check_mode(found),
        checked => checked,
    }
}

/// The folder of the file at `path`; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
