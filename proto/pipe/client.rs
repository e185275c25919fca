//! The client's side of a pipe: the connection, and the owner of the pipe.

use std::{
    fs::File,
    io,
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsRawHandle, IntoRawHandle},
    },
    ptr,
};

use tokio::net::windows::named_pipe::NamedPipeClient;
use windows_sys::Win32::{
    Foundation::ERROR_SUCCESS,
    Security::{
        Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT},
        OWNER_SECURITY_INFORMATION,
    },
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION},
};

use crate::{memory::LocalBlock, server::USE_ONLY, sid::Sid};

/// Opens an instance of the pipe `name`. Its server may learn this user's name, but not act as this user. Must be
/// called inside a runtime.
///
/// # Errors
/// The operating system's: no such pipe (2), all instances are busy (231), or access is denied (5).
pub fn connect(name: &str) -> io::Result<NamedPipeClient> {
    let mut options = File::options();
    // Not `GENERIC_WRITE`, which asks for the right to create instances, too.
    options.access_mode(USE_ONLY).custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
    let handle = options.open(name)?.into_raw_handle();
    // SAFETY: the handle is open, was opened for overlapped I/O, and belongs to nothing else from here on.
    unsafe { NamedPipeClient::from_raw_handle(handle) }
}

/// The owner of a pipe, from the connection itself: a pipe of the same name that comes later has no influence.
///
/// # Errors
/// The operating system's.
pub fn owner_of_pipe(pipe: &NamedPipeClient) -> io::Result<Sid> {
    let (mut sid, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open as long as `pipe` is borrowed. `sid` and `descriptor` are places for addresses; the
    // other parts of the descriptor are not asked for.
    let code = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &mut sid,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    // SAFETY: the function has allocated the descriptor, to be freed by `LocalFree`; no other value has its address.
    let _descriptor = unsafe { LocalBlock::new(descriptor) };
    if sid.is_null() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the SID is not null, so it is a part of the descriptor, which lives until the end of this function.
    unsafe { Sid::read(sid) }
}
