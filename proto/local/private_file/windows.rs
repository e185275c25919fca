//! Owner, access list and lock of files on Windows.

use std::{
    fs::{File, Metadata},
    io,
    os::windows::{fs::OpenOptionsExt, io::AsHandle},
    path::Path,
};

use cardbroker_pipe::{
    ADMINISTRATORS, Excess, FileAccess, Keeper, SYSTEM, access_of_file, account_with, create_file,
    create_folder as create_one_folder, own_identity, own_user, owner_of_file,
};

use super::{PrivateFileError, folder_of};

/// The remedy for a file of another user.
pub(super) const CHANGE_OWNER: &str = "change its owner (icacls FILE /setowner USER)";

/// The remedy for a file that others may read or change.
pub(super) const CLOSE_TO_OTHERS: &str =
    "remove the others (icacls FILE /inheritance:r /grant:r USER:F *S-1-5-18:F *S-1-5-32-544:F)";

/// `FILE_FLAG_BACKUP_SEMANTICS`, without which no folder can be opened.
const FOLDERS_TOO: u32 = 0x0200_0000;

/// `FILE_FLAG_OPEN_REPARSE_POINT`: a link itself is opened, not its target.
const LINK_ITSELF: u32 = 0x0020_0000;

/// `READ_CONTROL`: the right to read owner and access list.
const READ_SECURITY: u32 = 0x0002_0000;

/// Takes the lock of a folder, without waiting; the result holds it until it is dropped. Processes that ask for the
/// same lock exclude each other. The lock is a file in the folder, which stays.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
pub fn lock_folder(folder: &Path) -> io::Result<impl Sized + use<>> {
    lock_file(&folder.join(".lock"))
}

/// Locks a file without waiting, until the result is dropped. Makes the file if it is missing; it stays.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if another process has the lock, or the operating system's error.
pub fn lock_file(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// A new file has its owner from the beginning: see [`create_new`].
///
/// # Errors
/// None.
pub fn give_to_owner_of(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

/// Creates a folder and its missing parents, accessible by this user, SYSTEM and the administrators only.
///
/// # Errors
/// An error of the operating system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match create_one_folder(path, &own_keeper()?) {
        // Another process may have made it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Creates a file, accessible by this user, SYSTEM and the administrators only, and opens it for reading and writing.
/// In a folder of the machine a file that an administrator makes belongs to the administrators, so that the service may
/// use it.
///
/// # Errors
/// An error of the operating system; [`io::ErrorKind::AlreadyExists`] if there is something at the path.
pub fn create_new(path: &Path) -> io::Result<File> {
    let folder = open_to_check(folder_of(path))?;
    let is_machines = [SYSTEM, ADMINISTRATORS].contains(&owner_of_file(&folder)?.as_str());
    let keeper = if is_machines && is_administrator() { Keeper::Machine } else { own_keeper()? };
    create_file(path, &keeper)
}

/// The keeper of what this user makes.
fn own_keeper() -> io::Result<Keeper> {
    let user = own_user()?;
    Ok(if user.as_str() == SYSTEM { Keeper::Machine } else { Keeper::User(user) })
}

/// Whether this process has the rights of the administrators now.
fn is_administrator() -> bool {
    own_identity()
        .is_ok_and(|own| own.user.as_str() == SYSTEM || own.groups.iter().any(|group| group.as_str() == ADMINISTRATORS))
}

/// Opens a file or a folder to look at its owner and its access list alone.
pub(super) fn open_to_check(path: &Path) -> io::Result<File> {
    File::options().access_mode(READ_SECURITY).custom_flags(FOLDERS_TOO).open(path)
}

/// Opens a file or a folder to look at it alone; `None` for a link, such as a junction, whose target is elsewhere.
fn open_unless_link(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().access_mode(READ_SECURITY).custom_flags(FOLDERS_TOO | LINK_ITSELF).open(path)?;
    Ok((!file.metadata()?.file_type().is_symlink()).then_some(file))
}

pub(super) fn is_no_file(_: &io::Error) -> bool {
    false
}

pub(super) fn check_access(file: &File, _: &Metadata) -> Result<(), PrivateFileError> {
    match access_of_file(file)?.check_secret(own_user()?.as_str()) {
        Ok(()) => Ok(()),
        Err(Excess::Owner(_)) => Err(PrivateFileError::Foreign),
        Err(excess) => Err(PrivateFileError::Shared { problem: told(&excess) }),
    }
}

/// The problem of a file or a folder that nobody but this user and the administrators may change, as the end of a
/// sentence about it: the right of another user, or that it is a link; `None` if it has none.
///
/// # Errors
/// An error of the operating system.
pub fn excess(path: &Path) -> io::Result<Option<String>> {
    let own = own_user()?;
    excess_if(path, |access| access.check_unchangeable(own.as_str()))
}

/// Whether a check finds a problem at `path` itself, which must be no link.
pub(super) fn excess_if(path: &Path, check: impl Fn(&FileAccess) -> Result<(), Excess>) -> io::Result<Option<String>> {
    match open_unless_link(path)? {
        Some(file) => Ok(check(&access_of_file(&file)?).err().map(|excess| told(&excess))),
        None => Ok(Some("is a link to another place".to_owned())),
    }
}

/// Whether another user than the administrators may own or change an open file.
///
/// # Errors
/// An error of the operating system.
pub fn is_changeable_by_others(file: &impl AsHandle) -> io::Result<bool> {
    Ok(access_of_file(file)?.check_unchangeable(own_user()?.as_str()).is_err())
}

/// An excess as the end of a sentence about the file.
pub(super) fn told(excess: &Excess) -> String {
    let name = |sid: &str| {
        let known = sid.parse().ok().and_then(|sid| account_with(&sid).ok().flatten());
        known.map_or_else(|| sid.to_owned(), |(name, _)| name)
    };
    match excess {
        Excess::Owner(sid) => format!("belongs to {}", name(sid)),
        Excess::Read(sid) => format!("can be read by {}", name(sid)),
        Excess::Write(sid) => format!("can be changed by {}", name(sid)),
        Excess::Unclear => "has no access list, or one that is not understood".to_owned(),
    }
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
