//! Access tokens: the user of a process or a client, and the groups in force.

use std::{
    ffi::c_void,
    io, mem,
    os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, HANDLE},
    Security::{
        GetTokenInformation, SID_AND_ATTRIBUTES, TOKEN_GROUPS, TOKEN_INFORMATION_CLASS, TOKEN_QUERY, TOKEN_USER,
        TokenGroups, TokenRestrictedSids, TokenUser,
    },
    System::{
        SystemServices::{SE_GROUP_ENABLED, SE_GROUP_USE_FOR_DENY_ONLY},
        Threading::{GetCurrentProcess, OpenProcessToken},
    },
};

use crate::{convention::has_code, sid::Sid};

/// The bytes that an answer about a token first has room for.
const ROOM: usize = 4 * 1_024;

/// The maximum bytes of an answer: a token has at most about a thousand groups of at most 84 bytes.
const MAX_ROOM: usize = 256 * 1_024;

/// Wine's codes for a question that it does not know: `ERROR_INVALID_FUNCTION`, `ERROR_CALL_NOT_IMPLEMENTED`.
const NOT_IMPLEMENTED: [i32; 2] = [1, 120];

/// The user of an access token, with the groups that the token has in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user for whom the process acts.
    pub user: Sid,
    /// The enabled groups. A group for denials only, such as the administrators' in a process that is not elevated, is
    /// not among them.
    pub groups: Vec<Sid>,
}

impl Identity {
    /// The identity in an access token that was opened for queries.
    ///
    /// # Errors
    /// An error of the operating system; [`io::ErrorKind::PermissionDenied`] if the token has its user for denials
    /// only, or is restricted to some SIDs: such a process may not use everything that the user may.
    pub(crate) fn of(token: &impl AsHandle) -> io::Result<Self> {
        let (user, attributes) = user_with_attributes(token)?;
        if is_restricted(token)? || is_for_denials(attributes) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the token is that of a restricted process"));
        }
        Ok(Self { user, groups: enabled_groups(token)? })
    }
}

/// The identity of this process.
///
/// # Errors
/// An error of the operating system.
pub fn own_identity() -> io::Result<Identity> {
    Identity::of(&own_token()?)
}

/// The user of this process.
///
/// # Errors
/// An error of the operating system.
pub fn own_user() -> io::Result<Sid> {
    Ok(user_with_attributes(&own_token()?)?.0)
}

/// Opens the access token of this process for queries.
fn own_token() -> io::Result<OwnedHandle> {
    open_own_token(TOKEN_QUERY)
}

/// Opens the access token of this process with these rights.
pub(crate) fn open_own_token(rights: u32) -> io::Result<OwnedHandle> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: takes nothing and returns a constant that stands for this process.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the process handle is valid, and `token` is a place for the result.
    let opened = unsafe { OpenProcessToken(process, rights, &mut token) };
    if opened == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `token` is an open handle, and no other value owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

fn user_with_attributes(token: &impl AsHandle) -> io::Result<(Sid, u32)> {
    let answer = Answer::get(token, TokenUser)?;
    // SAFETY: the answer to `TokenUser` begins with a `TOKEN_USER`, which fits and is aligned by the contract of
    // `start`.
    let user = unsafe { answer.start::<TOKEN_USER>()?.read() }.User;
    // SAFETY: the system has put a valid SID behind the `TOKEN_USER`, into the same buffer, which lives on.
    Ok((unsafe { Sid::read(user.Sid) }?, user.Attributes))
}

/// Whether the token is restricted to some SIDs. `IsTokenRestricted` has one answer for "no" and for an error.
fn is_restricted(token: &impl AsHandle) -> io::Result<bool> {
    let answer = match Answer::get(token, TokenRestrictedSids) {
        // Wine does not know the question, and has no restricted tokens. Windows knows it, and has another code for an
        // unknown one.
        Err(error) if error.raw_os_error().is_some_and(|code| NOT_IMPLEMENTED.contains(&code)) => return Ok(false),
        answer => answer?,
    };
    // SAFETY: the answer to `TokenRestrictedSids` begins with the number of SIDs, which fits and is aligned by the
    // contract of `start`.
    Ok(unsafe { answer.start::<u32>()?.read() } != 0)
}

fn enabled_groups(token: &impl AsHandle) -> io::Result<Vec<Sid>> {
    let answer = Answer::get(token, TokenGroups)?;
    // SAFETY: the answer to `TokenGroups` begins with the number of groups, which fits and is aligned by the contract
    // of `start`.
    let count = unsafe { answer.start::<u32>()?.read() } as usize;
    let mut groups = Vec::new();
    for index in 0..count {
        let offset = mem::offset_of!(TOKEN_GROUPS, Groups) + index * size_of::<SID_AND_ATTRIBUTES>();
        // SAFETY: the system has written that many groups in a row, and this one fits and is aligned by the contract of
        // `at`.
        let group = unsafe { answer.at::<SID_AND_ATTRIBUTES>(offset)?.read() };
        if is_enabled(group.Attributes) {
            // SAFETY: the system has put a valid SID behind the groups, into the same buffer, which lives on.
            groups.push(unsafe { Sid::read(group.Sid) }?);
        }
    }
    Ok(groups)
}

/// Whether a group with these attributes gives its rights to the process.
pub(crate) fn is_enabled(attributes: u32) -> bool {
    attributes & SE_GROUP_ENABLED as u32 != 0 && !is_for_denials(attributes)
}

/// Whether a user or a group with these attributes counts in rules that deny, and in no others.
pub(crate) fn is_for_denials(attributes: u32) -> bool {
    attributes & SE_GROUP_USE_FOR_DENY_ONLY as u32 != 0
}

/// The system's answer to a question about a token: a structure, and behind it the SIDs to which it points. The answer
/// must not be moved out of its buffer before they are read.
struct Answer(Vec<u64>);

impl Answer {
    /// Asks the system. The token was opened for queries.
    fn get(token: &impl AsHandle, question: TOKEN_INFORMATION_CLASS) -> io::Result<Self> {
        let mut bytes = ROOM;
        loop {
            // Words, because the structures must be aligned. All are 0, so every byte has a value.
            let mut words = vec![0_u64; bytes.div_ceil(size_of::<u64>())];
            let (buffer, mut needed): (*mut c_void, u32) = (words.as_mut_ptr().cast(), 0);
            let (handle, room) = (token.as_handle().as_raw_handle(), size_of_val(words.as_slice()));
            // SAFETY: the token is open, and the buffer has the length that is given, in bytes.
            let done = unsafe { GetTokenInformation(handle, question, buffer, room as u32, &mut needed) };
            if done != 0 {
                return Ok(Self(words));
            }
            let error = io::Error::last_os_error();
            let is_short = has_code(&error, ERROR_INSUFFICIENT_BUFFER);
            // The room grows with each turn, up to its maximum.
            match needed as usize {
                needed if is_short && (room + 1..=MAX_ROOM).contains(&needed) => bytes = needed,
                _ => return Err(error),
            }
        }
    }

    /// The address of the first value, which is aligned for `T`; an error if the buffer is too short for a `T`.
    fn start<T>(&self) -> io::Result<*const T> {
        self.at(0)
    }

    /// The address of the value at an offset, which is aligned for `T`; an error if the buffer ends before the end of a
    /// `T` there.
    fn at<T>(&self, offset: usize) -> io::Result<*const T> {
        let address: *const T = self.0.as_ptr().cast::<u8>().wrapping_add(offset).cast();
        let fits = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= size_of_val(self.0.as_slice()));
        if fits && address.is_aligned() { Ok(address) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
