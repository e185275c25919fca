//! The broker's side of a pipe: its instances with their access list, and the users of its clients.

use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use tokio::net::windows::named_pipe::{NamedPipeServer, PipeMode, ServerOptions};
use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{RevertToSelf, TOKEN_QUERY},
    System::{
        Pipes::{GetNamedPipeClientProcessId, ImpersonateNamedPipeClient},
        Threading::{GetCurrentThread, OpenThreadToken},
    },
};

use crate::{
    client::owner_of,
    descriptor::Descriptor,
    sid::Sid,
    token::{Identity, own_user},
};

/// The rights of a group that may use the pipe: to read and write, but not to create instances of it, which would let
/// its members serve other clients. `FILE_GENERIC_READ`, `FILE_WRITE_DATA`, `FILE_WRITE_EA`, `FILE_WRITE_ATTRIBUTES`.
pub(crate) const USE_ONLY: u32 = 0x0012_019b;

/// The users who may open a pipe: its owner, who is the user of this process, SYSTEM, the administrators, and one group
/// if there is one.
#[derive(Debug)]
pub struct AccessList(Descriptor);

impl AccessList {
    /// The access list with this `group`.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn new(group: Option<&Sid>) -> io::Result<Self> {
        Ok(Self(Descriptor::parse(&access_list(&own_user()?, group))?))
    }

    /// The access list and the owner in the system's text form, such as `O:SYD:P(A;;GA;;;SY)`, for pipes that are
    /// not a broker's.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn parse(descriptor: &str) -> io::Result<Self> {
        Ok(Self(Descriptor::parse(descriptor)?))
    }

    /// Creates the first instance of the pipe `name` with this access list, for bytes, and for clients of this machine
    /// alone. Must be called inside a runtime.
    ///
    /// # Errors
    /// An error of the operating system; [`io::ErrorKind::PermissionDenied`] if the pipe exists.
    pub fn create(&self, name: &str) -> io::Result<NamedPipeServer> {
        self.create_with(name, ServerOptions::new().first_pipe_instance(true))
    }

    /// Creates a further instance of the own pipe `name`. A pipe that has gone meanwhile is made anew, with this access
    /// list. Must be called inside a runtime.
    ///
    /// # Errors
    /// An error of the operating system; [`io::ErrorKind::PermissionDenied`] if the pipe is another user's.
    pub fn add(&self, name: &str) -> io::Result<NamedPipeServer> {
        self.create_own(name, &mut ServerOptions::new())
    }

    /// Creates a further instance of a pipe of which only the ends of clients are left, and gives the pipe this access
    /// list. A pipe that has gone meanwhile is made anew. Must be called inside a runtime.
    ///
    /// # Errors
    /// An error of the operating system; [`io::ErrorKind::PermissionDenied`] if the pipe is another user's.
    pub fn join(&self, name: &str) -> io::Result<NamedPipeServer> {
        let pipe = self.create_own(name, ServerOptions::new().write_dac(true))?;
        let given = self.0.give_list_to(&pipe);
        // A client may have come by the list before. An error means that none has.
        let _ = pipe.disconnect();
        given.map(|()| pipe)
    }

    /// Creates an instance of this user's pipe: an instance of another one is closed.
    fn create_own(&self, name: &str, options: &mut ServerOptions) -> io::Result<NamedPipeServer> {
        let pipe = self.create_with(name, options)?;
        // All instances of a pipe have one descriptor, and only the owner's user can have named this owner.
        if owner_of(&pipe)? == own_user()? {
            return Ok(pipe);
        }
        // An error means that no client has come.
        let _ = pipe.disconnect();
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn create_with(&self, name: &str, options: &mut ServerOptions) -> io::Result<NamedPipeServer> {
        let mut attributes = self.0.attributes();
        let attributes: *mut c_void = (&raw mut attributes).cast();
        options.reject_remote_clients(true).pipe_mode(PipeMode::Byte);
        // SAFETY: `attributes` points to valid attributes with a valid descriptor, and both live during the call. The
        // system copies them.
        unsafe { options.create_with_security_attributes_raw(name, attributes) }
    }
}

/// The access list in the system's text form. The owner is named, because that of an administrator would be the group.
pub(crate) fn access_list(owner: &Sid, group: Option<&Sid>) -> String {
    let group = group.map(|group| format!("(A;;{USE_ONLY:#x};;;{group})")).unwrap_or_default();
    format!("O:{owner}D:P(A;;GA;;;{owner})(A;;GA;;;SY)(A;;GA;;;BA){group}")
}

/// The identity of the client who has opened this instance, by the client's own access token. Call it after bytes have
/// come: before, the system may not tell.
///
/// # Errors
/// An error of the operating system, also if the client does not allow the broker to learn its user;
/// [`io::ErrorKind::PermissionDenied`] if the client's token is that of a restricted process.
pub fn client_identity(pipe: &NamedPipeServer) -> io::Result<Identity> {
    Identity::of(&client_token(pipe.as_raw_handle())?)
}

/// The number of the process that has opened this instance, for display only: it may have passed the pipe on or ended,
/// and another process may have its number.
pub fn client_process(pipe: &NamedPipeServer) -> Option<u32> {
    let mut number = 0;
    // SAFETY: the handle is open as long as `pipe` is borrowed, and `number` is a place for the result.
    let done = unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &mut number) };
    (done != 0 && number != 0).then_some(number)
}

/// Opens the access token of the client. This thread acts as the client for the time of the call.
fn client_token(pipe: HANDLE) -> io::Result<OwnedHandle> {
    // SAFETY: the handle is an open pipe's. From here to `revert` nothing runs on this thread but the opening of the
    // token: no other code acts with the client's rights.
    let impersonated = unsafe { ImpersonateNamedPipeClient(pipe) };
    if impersonated == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: takes nothing and returns a constant that stands for this thread.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: the thread handle is valid, and `token` is a place for the result. The third argument has the broker's
    // own rights checked, because a client may forbid everything to its own.
    let opened = unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &mut token) };
    let error = io::Error::last_os_error();
    revert();
    match opened {
        0 => Err(error),
        // SAFETY: the call succeeded, so `token` is an open handle, and no other value owns it.
        _ => Ok(unsafe { OwnedHandle::from_raw_handle(token) }),
    }
}

/// Lets this thread act as the broker again.
fn revert() {
    // SAFETY: takes nothing, and ends the impersonation of this thread.
    if unsafe { RevertToSelf() } == 0 {
        // The thread would go on with a client's rights. The system's documentation demands the end of the process.
        std::process::abort();
    }
}
