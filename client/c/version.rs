//! The versions of the library and of its ABI.

use std::ffi::c_char;

use crate::border::value;

/// The number of the ABI of this header. It changes only when a program must be compiled again; new functions and
/// constants do not change it.
pub const CARDBROKER_ABI: u32 = 1;

/// The version of the library (Semantic Versioning): "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_version() -> *const c_char {
    value(std::ptr::null(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// The number of the library's ABI: a program that loads the library at run time compares it with CARDBROKER_ABI.
#[unsafe(no_mangle)]
pub extern "C" fn cardbroker_abi() -> u32 {
    value(0, || CARDBROKER_ABI)
}
