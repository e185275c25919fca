//! Security descriptors: an owner and an access list for what this process creates.

use std::{io, ptr};

use windows_sys::Win32::Security::{
    Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
    SECURITY_ATTRIBUTES,
};

use crate::memory::LocalBlock;

/// A security descriptor in the system's form.
#[derive(Debug)]
pub(crate) struct Descriptor(LocalBlock);

impl Descriptor {
    /// Reads a descriptor in the system's text form (SDDL).
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with 0; `descriptor` is a place for the address of the result; no length is asked for.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                ptr::null_mut(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the function has allocated the result, to be freed by `LocalFree`; no other value has its address.
        unsafe { LocalBlock::new(descriptor) }.map(Self).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The attributes of a new object with this descriptor, which must live as long as they are used. A child does not
    /// inherit the handle.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.as_ptr(),
            bInheritHandle: 0,
        }
    }
}
