//! The names of users and groups (SIDs), in their text form, and the user of this process.

use std::{
    ffi::c_void,
    fmt, io,
    os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle},
    ptr,
    str::FromStr,
};

use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{Authorization::ConvertSidToStringSidW, GetTokenInformation, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser},
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

use crate::memory::LocalBlock;

/// The account of the operating system itself.
pub const SYSTEM: &str = "S-1-5-18";
/// The account of services with few rights.
pub const LOCAL_SERVICE: &str = "S-1-5-19";
/// The account of services with few rights that use the network.
pub const NETWORK_SERVICE: &str = "S-1-5-20";
/// The group of all administrators of this machine.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";

/// The maximum characters of a SID's text: 15 parts of 10 digits, and the beginning.
const MAX_CHARACTERS: usize = 200;

/// The maximum bytes of a `TOKEN_USER` with its SID: the header, and at most 68 bytes.
const TOKEN_USER_WORDS: usize = 16;

/// The name of a user or a group of Windows: `S-1-5-…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid(String);

impl Sid {
    /// The text: `S-1-` and numbers with hyphens between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the SID at an address.
    ///
    /// # Safety
    /// `sid` points to a valid SID, which stays valid during the call.
    pub(crate) unsafe fn read(sid: PSID) -> io::Result<Self> {
        let mut text = ptr::null_mut();
        // SAFETY: the caller promises that `sid` is a valid SID; `text` is a place for the address of the result.
        let done = unsafe { ConvertSidToStringSidW(sid, &mut text) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the function has allocated the text, to be freed by `LocalFree`; no other value has its address.
        let block = unsafe { LocalBlock::new(text.cast()) }.ok_or(io::ErrorKind::InvalidData)?;
        let first: *const u16 = block.as_ptr().cast();
        let mut units = Vec::new();
        for index in 0..MAX_CHARACTERS {
            // SAFETY: the text ends with 0, and the loop ends there, so the address is inside the text.
            let address = unsafe { first.add(index) };
            // SAFETY: as above, and the system has written the text up to its 0.
            let unit = unsafe { address.read() };
            if unit == 0 {
                return String::from_utf16_lossy(&units).parse().map_err(io::Error::other);
            }
            units.push(unit);
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Sid {
    type Err = String;

    /// Parses `S-1-` and at least two numbers. Letters and other signs are refused, so a SID has no effect beyond its
    /// place in an access list.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = text.strip_prefix("S-1-").filter(|rest| rest.len() < MAX_CHARACTERS);
        let is_sid = numbers.is_some_and(|rest| rest.contains('-') && rest.split('-').all(is_number));
        if is_sid { Ok(Self(text.to_owned())) } else { Err(format!("`{text}` is not a SID (S-1-5-…)")) }
    }
}

/// The user of this process.
///
/// # Errors
/// The operating system's.
pub fn own_user() -> io::Result<Sid> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: takes nothing and returns a constant that stands for this process.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the process handle is valid, and `token` is a place for the result.
    let opened = unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) };
    if opened == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `token` is an open handle, and no other value owns it.
    user_of(&unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The user of an access token that was opened for queries.
pub(crate) fn user_of(token: &impl AsHandle) -> io::Result<Sid> {
    // Words, because a `TOKEN_USER` must be aligned.
    let mut words = [0_u64; TOKEN_USER_WORDS];
    let mut length = 0;
    let buffer: *mut c_void = words.as_mut_ptr().cast();
    let token = token.as_handle().as_raw_handle();
    // SAFETY: the token is open, and the buffer has the length that is given, in bytes.
    let done = unsafe { GetTokenInformation(token, TokenUser, buffer, size_of_val(&words) as u32, &mut length) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so a `TOKEN_USER` begins the buffer, which is aligned for it and lives on.
    let user = unsafe { buffer.cast::<TOKEN_USER>().read() };
    // SAFETY: its SID is in the same buffer, behind it, and the buffer lives until the end of this function.
    unsafe { Sid::read(user.User.Sid) }
}
