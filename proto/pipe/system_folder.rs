//! The folder of the system's own programs.

use std::{ffi::OsString, io, os::windows::ffi::OsStringExt, path::PathBuf};

use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

/// The maximum length of the folder's path with its end, in units: Windows' own limit of such a path.
const ROOM: usize = 261;

/// The folder of the system's own programs, by the system itself: a variable of the environment may be set by a user.
///
/// # Errors
/// An error of the operating system.
pub fn system_folder() -> io::Result<PathBuf> {
    let mut units = [0_u16; ROOM];
    // SAFETY: the buffer has the length that is given, in units.
    let length = unsafe { GetSystemDirectoryW(units.as_mut_ptr(), ROOM as u32) };
    // A path that does not fit gives the room that it needs.
    match units.get(..length as usize) {
        None => Err(io::ErrorKind::InvalidData.into()),
        Some([]) => Err(io::Error::last_os_error()),
        Some(path) => Ok(OsString::from_wide(path).into()),
    }
}
