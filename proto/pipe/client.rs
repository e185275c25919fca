//! The client's side of a pipe: the connection, and the owner of the pipe.

use std::{
    fs::File,
    io,
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsHandle, IntoRawHandle},
    },
};

use tokio::net::windows::named_pipe::NamedPipeClient;
use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY},
    Security::{Authorization::SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION},
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION},
    System::Pipes::{NMPWAIT_NOWAIT, WaitNamedPipeW},
};

use crate::{
    convention::{has_code, with_end},
    descriptor::Information,
    server::USE_ONLY,
    sid::Sid,
};

/// Opens an instance of the pipe `name`. Its server may learn this user's name, but not act as this user. Must be
/// called inside a runtime.
///
/// # Errors
/// An error of the operating system: there is no such pipe ([`is_missing`]), all its instances are busy
/// ([`is_busy`]), or access is denied.
pub fn connect(name: &str) -> io::Result<NamedPipeClient> {
    let mut options = File::options();
    // Not `GENERIC_WRITE`, which asks for the right to create instances, too.
    options.access_mode(USE_ONLY).custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
    let handle = options.open(name)?.into_raw_handle();
    // SAFETY: the handle is open, was opened for overlapped I/O, and belongs to nothing else from here on.
    unsafe { NamedPipeClient::from_raw_handle(handle) }
}

/// Whether there is a pipe of this name. Takes no instance of it, and does not wait. `true` if the system does not say.
pub fn pipe_exists(name: &str) -> bool {
    let name = with_end(name);
    // SAFETY: the name is valid UTF-16 with a zero at its end, and outlives the call.
    let has_free_instance = unsafe { WaitNamedPipeW(name.as_ptr(), NMPWAIT_NOWAIT) } != 0;
    has_free_instance || !is_missing(&io::Error::last_os_error())
}

/// Whether [`connect`] has failed because there is no pipe of this name.
pub fn is_missing(error: &io::Error) -> bool {
    has_code(error, ERROR_FILE_NOT_FOUND)
}

/// Whether [`connect`] has failed because all instances of the pipe are taken, or clients hold their ends although its
/// server has gone.
pub fn is_busy(error: &io::Error) -> bool {
    has_code(error, ERROR_PIPE_BUSY)
}

/// The owner of a pipe, from the connection itself: a pipe of the same name that comes later has no influence.
///
/// # Errors
/// An error of the operating system.
pub fn owner_of_pipe(pipe: &NamedPipeClient) -> io::Result<Sid> {
    owner_of(pipe)
}

/// The owner of a pipe, from either end.
pub(crate) fn owner_of(pipe: &impl AsHandle) -> io::Result<Sid> {
    Ok(Information::get(pipe, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION)?.owner)
}
