//! Security descriptors: the owner and the access list of what this process creates, and those of other objects.

use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle},
    ptr,
};

use windows_sys::Win32::Security::{
    ACL,
    Authorization::{
        ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_OBJECT_TYPE,
    },
    DACL_SECURITY_INFORMATION, OBJECT_SECURITY_INFORMATION, SECURITY_ATTRIBUTES, SetKernelObjectSecurity,
};

use crate::{
    convention::{checked, with_end},
    memory::LocalBlock,
    sid::Sid,
};

/// A security descriptor in the system's form.
#[derive(Debug)]
pub(crate) struct Descriptor(LocalBlock);

impl Descriptor {
    /// Reads a descriptor in the system's text form (SDDL).
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let text = with_end(text);
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

    /// Gives an open object the access list of this descriptor. The handle was opened with the right to do so.
    pub(crate) fn give_list_to(&self, object: &impl AsHandle) -> io::Result<()> {
        let handle = object.as_handle().as_raw_handle();
        // SAFETY: the handle is open and the descriptor valid, and both live during the call, which copies the list.
        let done = unsafe { SetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, self.0.as_ptr()) };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// The security of an object, as the system tells it.
pub(crate) struct Information {
    pub(crate) owner: Sid,
    /// A part of the descriptor; null if the object has no list, or it was not asked for.
    pub(crate) list: *const ACL,
    _descriptor: Option<LocalBlock>,
}

impl Information {
    /// Asks for these `parts` of an object of this kind. The owner must be among them.
    pub(crate) fn get(
        object: &impl AsHandle,
        kind: SE_OBJECT_TYPE,
        parts: OBJECT_SECURITY_INFORMATION,
    ) -> io::Result<Self> {
        let (mut owner, mut list, mut descriptor) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the handle is open during the call. The three are places for addresses; the other parts of the
        // descriptor are not asked for.
        let code = unsafe {
            GetSecurityInfo(
                object.as_handle().as_raw_handle(),
                kind,
                parts,
                &mut owner,
                ptr::null_mut(),
                &mut list,
                ptr::null_mut(),
                &mut descriptor,
            )
        };
        checked(code)?;
        // SAFETY: the function has allocated the descriptor, to be freed by `LocalFree`; nothing else has its address.
        let descriptor = unsafe { LocalBlock::new(descriptor) };
        if owner.is_null() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: the SID is not null, so it is a valid part of the descriptor, which lives on.
        let owner = unsafe { Sid::read(owner) }?;
        Ok(Self { owner, list, _descriptor: descriptor })
    }
}
