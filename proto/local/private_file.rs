//! Files with permissions or secrets: used only if no other user can read or change them.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::open::open_without_waiting;
#[cfg(unix)]
use crate::secret_mount::is_mounted_secret;

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
    /// Owned by neither this user nor root.
    #[error("belongs to another user: change its owner with chown")]
    Foreign,
    /// The file's mode gives access to other users.
    #[error("is open to others (its mode is {mode:04o}): chmod 600 it")]
    Loose {
        /// The permission bits of the mode.
        mode: u32,
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
/// The operating system's.
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
    read_checked(path, |found| match check_access(found) {
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
    check: impl Fn(&Metadata) -> Result<(), PrivateFileError>,
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
    check: impl Fn(&Metadata) -> Result<(), PrivateFileError>,
) -> Result<(File, Metadata), PrivateFileError> {
    let file = open_without_waiting(path).map_err(|error| match is_no_file(&error) {
        true => PrivateFileError::NotRegular,
        false => error.into(),
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(PrivateFileError::NotRegular);
    }
    check(&found)?;
    Ok((file, found))
}

fn check_access_as_administrator(found: &Metadata) -> Result<(), PrivateFileError> {
    match check_access(found) {
        Err(PrivateFileError::Foreign) if is_root() => check_mode(found),
        checked => checked,
    }
}

/// Takes a lock on a folder, without waiting; the result holds it until it is dropped. Processes that ask for the same
/// lock exclude each other. Other platforms than Unix have none.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
#[cfg(unix)]
pub fn lock_folder(folder: &Path) -> io::Result<impl Sized + use<>> {
    let folder = File::open(folder)?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// There is no such lock.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn lock_folder(_: &Path) -> io::Result<impl Sized + use<>> {
    Ok(())
}

/// The folder of the file at `path`; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a folder and its missing parents, accessible by their owner only.
///
/// # Errors
/// The operating system's.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Gives a new file of root's to the user who owns the file at `path`, or else its folder; other users keep theirs.
///
/// # Errors
/// The operating system's.
#[cfg(unix)]
pub fn give_to_owner_of(path: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if !is_root() {
        return Ok(());
    }
    let owner = path.symlink_metadata().or_else(|_| folder_of(path).metadata())?;
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Other platforms have no owners here.
#[cfg(not(unix))]
pub fn give_to_owner_of(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

/// Options to open a private file for writing; a new file gets access for its owner only.
pub fn create_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether opening failed because the file is a socket, or a device without a driver.
#[cfg(unix)]
fn is_no_file(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NXIO)
}

#[cfg(not(unix))]
fn is_no_file(_: &io::Error) -> bool {
    false
}

#[cfg(unix)]
fn check_access(found: &Metadata) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
        return Err(PrivateFileError::Foreign);
    }
    check_mode(found)
}

#[cfg(unix)]
fn check_mode(found: &Metadata) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    match found.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(PrivateFileError::Loose { mode }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Other platforms have no mode: the user's folder must protect its files.
#[cfg(not(unix))]
fn check_access(_: &Metadata) -> Result<(), PrivateFileError> {
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Metadata) -> Result<(), PrivateFileError> {
    Ok(())
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(not(unix))]
fn is_mounted_secret(_: &Path, _: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs::{self, Permissions},
        io::Write,
        os::unix::fs::{PermissionsExt, chown},
    };

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create_options().write(true).create_new(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(&**read(&path).unwrap(), "x");
        for (mode, expected) in [(0o400, None), (0o640, Some("0640")), (0o604, Some("0604")), (0o620, Some("0620"))] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (read(&path), expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, _) => panic!("{mode:o}: {found:?}"),
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if chown(&path, Some(54_321), None).is_ok() {
            assert!(matches!(read(&path), Err(PrivateFileError::Foreign)));
        }
    }

    #[test]
    fn folders_pipes_and_too_long_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(PrivateFileError::NotRegular)));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(read(&socket), Err(PrivateFileError::NotRegular)));
        let path = folder.path().join("long");
        create_options().write(true).create_new(true).open(&path).unwrap().set_len(MAX_PRIVATE_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::TooLong)));
        let (bytes, is_whole) = read_beginning(&open(&path).unwrap()).unwrap();
        assert_eq!((bytes.len() as u64, is_whole), (MAX_PRIVATE_BYTES, false));
        assert!(read(&folder.path().join("missing")).unwrap_err().to_string().contains("No such file"));
    }
}
