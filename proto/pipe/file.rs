//! Files and folders with an access list of their own, and the owner and the access list of others.

use std::{
    fs::File,
    io,
    os::windows::{
        ffi::OsStrExt,
        io::{AsHandle, FromRawHandle},
    },
    path::Path,
    ptr,
};

use windows_sys::Win32::{
    Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE},
    Security::{
        ACCESS_ALLOWED_ACE, ACE_HEADER, Authorization::SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, GetAce,
        INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION,
    },
    Storage::FileSystem::{
        CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE,
    },
    System::SystemServices::{
        ACCESS_ALLOWED_ACE_TYPE, ACCESS_ALLOWED_CALLBACK_ACE_TYPE, ACCESS_DENIED_ACE_TYPE,
        ACCESS_DENIED_CALLBACK_ACE_TYPE, ACCESS_DENIED_OBJECT_ACE_TYPE,
    },
};

use crate::{
    descriptor::{Descriptor, Information},
    rights::{Entry, FileAccess},
    sid::Sid,
};

/// The accounts that get all rights to a new file or folder, besides SYSTEM and the administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// This user, who also becomes the owner.
    User(Sid),
    /// Nobody else: it is the machine's, and belongs to the administrators. Only they and SYSTEM can make such a file.
    Machine,
}

impl Keeper {
    /// The descriptor in the system's text form. `flags` say what is inherited below a folder.
    pub(crate) fn descriptor(&self, flags: &str) -> String {
        match self {
            Self::User(user) => format!("O:{user}D:P(A;{flags};FA;;;{user})(A;{flags};FA;;;SY)(A;{flags};FA;;;BA)"),
            Self::Machine => format!("O:BAD:P(A;{flags};FA;;;SY)(A;{flags};FA;;;BA)"),
        }
    }
}

/// Creates a file, open for reading and writing, that has its access list from its first moment.
///
/// # Errors
/// An error of the operating system; [`io::ErrorKind::AlreadyExists`] if there is something at the path.
pub fn create_file(path: &Path, keeper: &Keeper) -> io::Result<File> {
    create_with(path, &keeper.descriptor(""))
}

/// Creates a file with a descriptor in the system's text form.
pub(crate) fn create_with(path: &Path, descriptor: &str) -> io::Result<File> {
    let path = path_with_end(path)?;
    let descriptor = Descriptor::parse(descriptor)?;
    let attributes = descriptor.attributes();
    // SAFETY: the path ends with 0. The attributes are valid, and they and their descriptor live during the call. There
    // is no template.
    let handle = unsafe {
        CreateFileW(
            path.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the handle is that of an open file, and no other value owns it.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// Creates a folder that has its access list from its first moment; what is made in it inherits the list.
///
/// # Errors
/// An error of the operating system; [`io::ErrorKind::AlreadyExists`] if there is something at the path.
pub fn create_folder(path: &Path, keeper: &Keeper) -> io::Result<()> {
    let path = path_with_end(path)?;
    let descriptor = Descriptor::parse(&keeper.descriptor("OICI"))?;
    let attributes = descriptor.attributes();
    // SAFETY: the path ends with 0. The attributes are valid, and they and their descriptor live during the call.
    let done = unsafe { CreateDirectoryW(path.as_ptr(), &attributes) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The owner of an open file.
///
/// # Errors
/// An error of the operating system.
pub fn owner_of_file(file: &impl AsHandle) -> io::Result<Sid> {
    Ok(Information::get(file, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION)?.owner)
}

/// The owner and the access list of an open file or folder.
///
/// # Errors
/// An error of the operating system.
pub fn access_of_file(file: &impl AsHandle) -> io::Result<FileAccess> {
    let information = Information::get(file, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION)?;
    let list = information.list;
    let entries = if list.is_null() {
        None
    } else {
        // SAFETY: the list is not null, so it is a valid part of the descriptor, which lives on.
        let count = unsafe { list.read() }.AceCount;
        let mut entries = Vec::new();
        for index in 0..count {
            let mut entry = ptr::null_mut();
            // SAFETY: the list is valid, and `entry` is a place for an address. An index beyond the end is refused.
            if unsafe { GetAce(list, index.into(), &mut entry) } == 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call succeeded, so the address is that of an entry of the list, which lives on.
            entries.extend(unsafe { read_entry(entry.cast()) }?);
        }
        Some(entries)
    };
    Ok(FileAccess { owner: information.owner.to_string(), entries })
}

/// Reads an entry; `None` if it only concerns what is below a folder.
///
/// # Safety
/// `entry` is the address of an entry of a valid access list.
unsafe fn read_entry(entry: *const ACE_HEADER) -> io::Result<Option<Entry>> {
    // SAFETY: every entry begins with a header; the list is aligned to 4 bytes, which are more than a header needs.
    let header = unsafe { entry.read() };
    if u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
        return Ok(None);
    }
    Ok(Some(match u32::from(header.AceType) {
        ACCESS_ALLOWED_ACE_TYPE | ACCESS_ALLOWED_CALLBACK_ACE_TYPE
            if usize::from(header.AceSize) >= size_of::<ACCESS_ALLOWED_ACE>() =>
        {
            let entry: *const ACCESS_ALLOWED_ACE = entry.cast();
            // SAFETY: by its type and its size, the entry has an access mask behind its header.
            let rights = unsafe { (&raw const (*entry).Mask).read() };
            // SAFETY: as above; the SID begins at the place of this member. Only its address is taken.
            let sid = unsafe { &raw const (*entry).SidStart };
            // SAFETY: an entry of these types ends with a valid SID, which is in the list and lives on.
            let sid = unsafe { Sid::read(sid.cast_mut().cast()) }?;
            Entry::Allow { sid: sid.to_string(), rights }
        }
        ACCESS_DENIED_ACE_TYPE | ACCESS_DENIED_CALLBACK_ACE_TYPE | ACCESS_DENIED_OBJECT_ACE_TYPE => Entry::Deny,
        _ => Entry::Unknown,
    }))
}

/// A path in the system's form.
fn path_with_end(path: &Path) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = path.as_os_str().encode_wide().collect();
    // A 0 would end the path early.
    if units.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(units.into_iter().chain([0]).collect())
}
