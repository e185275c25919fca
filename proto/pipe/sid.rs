//! The identifiers of users and groups (SIDs), in their text form.

use std::{fmt, io, ptr, str::FromStr};

use windows_sys::Win32::Security::{Authorization::ConvertSidToStringSidW, PSID};

use crate::memory::LocalBlock;

/// The maximum characters of a SID's text: 15 parts of 10 digits, and the beginning.
const MAX_CHARACTERS: usize = 200;

/// The identifier of a user or a group of Windows: `S-1-5-…`.
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
    /// place in an access list. The daemon's core owns the grammar of SIDs. This crate cannot use it, because clients
    /// depend on this crate and not on the core, and the core on no runtime.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = text.strip_prefix("S-1-").filter(|rest| rest.len() < MAX_CHARACTERS);
        let is_sid = numbers.is_some_and(|rest| rest.contains('-') && rest.split('-').all(is_number));
        if is_sid { Ok(Self(text.to_owned())) } else { Err(format!("`{text}` is not a SID (S-1-5-…)")) }
    }
}
