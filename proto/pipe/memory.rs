//! Memory and handles that the system has allocated for this process.

use std::{ffi::c_void, ptr::NonNull};

use windows_sys::Win32::Foundation::LocalFree;

/// A block that the system's documentation tells the caller to free by `LocalFree`. Frees it when dropped.
#[derive(Debug)]
pub(crate) struct LocalBlock(NonNull<c_void>);

// SAFETY: the block belongs to this value alone, and `LocalFree` may be called on any thread.
unsafe impl Send for LocalBlock {}

// SAFETY: a shared reference gives the address alone. The system's functions only read what is there.
unsafe impl Sync for LocalBlock {}

impl LocalBlock {
    /// Takes over a block of the system.
    ///
    /// # Safety
    /// `block` is null or was allocated by a function whose result the caller frees by `LocalFree`, and nothing else
    /// frees it.
    pub(crate) unsafe fn new(block: *mut c_void) -> Option<Self> {
        NonNull::new(block).map(Self)
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Drop for LocalBlock {
    fn drop(&mut self) {
        // SAFETY: by the contract of `new`, the block came from the system to be freed so, and this is the only time.
        unsafe { LocalFree(self.0.as_ptr()) };
    }
}
