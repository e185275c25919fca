//! The client's side of a pipe: the connection, and the owner of the pipe.

use std::{
    fs::File,
    io,
    os::windows::{fs::OpenOptionsExt, io::IntoRawHandle},
};

use tokio::net::windows::named_pipe::NamedPipeClient;
use windows_sys::Win32::{
    Security::{Authorization::SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION},
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION},
};

use crate::{descriptor::Information, server::USE_ONLY, sid::Sid};

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
    Ok(Information::get(pipe, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION)?.owner)
}
