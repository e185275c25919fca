//! Names of users and groups, as this machine and its domains know them. A look-up may ask a domain controller.

use std::{io, ptr};

use windows_sys::Win32::{
    Foundation::ERROR_NONE_MAPPED,
    Security::{
        Authorization::ConvertStringSidToSidW, LookupAccountNameW, LookupAccountSidW, SID_NAME_USE, SidTypeAlias,
        SidTypeGroup, SidTypeUser, SidTypeWellKnownGroup,
    },
};

use crate::{
    convention::{has_code, until_end, with_end},
    memory::LocalBlock,
    sid::Sid,
};

/// Room for a SID, which has at most 68 bytes.
const SID_WORDS: usize = 9;

/// Room for the name of an account or a domain, in UTF-16, with the 0 at its end: both have at most 256 characters.
const NAME_UNITS: usize = 512;

/// The account that a name or a SID stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// A person, or a service with a user of its own.
    User,
    /// A group. The system also counts its own accounts among them, such as SYSTEM.
    Group,
    /// A machine, a domain, a deleted account, or another one that no process runs as.
    Other,
}

impl AccountKind {
    fn of(kind: SID_NAME_USE) -> Self {
        match kind {
            kind if kind == SidTypeUser => Self::User,
            kind if [SidTypeGroup, SidTypeAlias, SidTypeWellKnownGroup].contains(&kind) => Self::Group,
            _ => Self::Other,
        }
    }
}

/// The account `NAME` or `DOMAIN\NAME`; `None` if there is none. A name without a domain is looked for on this machine
/// first, then in its domain and in trusted ones.
///
/// # Errors
/// An error of the operating system.
pub fn account_named(name: &str) -> io::Result<Option<(Sid, AccountKind)>> {
    // The empty name would be the machine's own domain, and a 0 would end the name early.
    if name.is_empty() || name.contains('\0') {
        return Ok(None);
    }
    let name = with_end(name);
    let (mut sid, mut domain) = ([0_u64; SID_WORDS], [0_u16; NAME_UNITS]);
    let (mut sid_bytes, mut domain_units, mut kind) = (size_of_val(&sid) as u32, domain.len() as u32, 0);
    // SAFETY: the name ends with 0, the buffers have the lengths that are given, in bytes and in characters, and the
    // last argument is a place for the kind. No address stands for this machine.
    let done = unsafe {
        LookupAccountNameW(
            ptr::null(),
            name.as_ptr(),
            sid.as_mut_ptr().cast(),
            &mut sid_bytes,
            domain.as_mut_ptr(),
            &mut domain_units,
            &mut kind,
        )
    };
    if done == 0 {
        return none_or_error();
    }
    // SAFETY: the call succeeded, so the buffer begins with a valid SID, and it lives on.
    let sid = unsafe { Sid::read(sid.as_mut_ptr().cast()) }?;
    Ok(Some((sid, AccountKind::of(kind))))
}

/// The name of the account with this SID, `DOMAIN\NAME`; `None` if there is none.
///
/// # Errors
/// An error of the operating system.
pub fn account_with(sid: &Sid) -> io::Result<Option<(String, AccountKind)>> {
    let sid = to_binary(sid)?;
    let (mut name, mut domain) = ([0_u16; NAME_UNITS], [0_u16; NAME_UNITS]);
    let (mut name_units, mut domain_units, mut kind) = (name.len() as u32, domain.len() as u32, 0);
    // SAFETY: the SID is valid and lives during the call, the buffers have the lengths that are given, in characters,
    // and the last argument is a place for the kind. No address stands for this machine.
    let done = unsafe {
        LookupAccountSidW(
            ptr::null(),
            sid.as_ptr(),
            name.as_mut_ptr(),
            &mut name_units,
            domain.as_mut_ptr(),
            &mut domain_units,
            &mut kind,
        )
    };
    if done == 0 {
        return none_or_error();
    }
    let (name, domain) = (until_end(&name), until_end(&domain));
    let name = if domain.is_empty() { name } else { format!(r"{domain}\{name}") };
    Ok(Some((name, AccountKind::of(kind))))
}

/// The SID in the form of the system's functions.
pub(crate) fn to_binary(sid: &Sid) -> io::Result<LocalBlock> {
    let text = with_end(sid.as_str());
    let mut sid = ptr::null_mut();
    // SAFETY: the text ends with 0, and `sid` is a place for the address of the result.
    let done = unsafe { ConvertStringSidToSidW(text.as_ptr(), &mut sid) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the function has allocated the SID, to be freed by `LocalFree`; no other value has its address.
    unsafe { LocalBlock::new(sid) }.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The result of a look-up that has failed.
fn none_or_error<T>() -> io::Result<Option<T>> {
    let error = io::Error::last_os_error();
    if has_code(&error, ERROR_NONE_MAPPED) { Ok(None) } else { Err(error) }
}
