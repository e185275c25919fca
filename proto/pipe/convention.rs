//! The system's conventions: texts that end with 0, and codes as results.

use std::io;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, WIN32_ERROR};

/// A text in the system's form.
pub(crate) fn with_end(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The text up to its end.
pub(crate) fn until_end(units: &[u16]) -> String {
    String::from_utf16_lossy(units.split(|unit| *unit == 0).next().unwrap_or_default())
}

/// The result of a function that returns its error.
pub(crate) fn checked(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// Whether this is the error with the system's `code`.
pub(crate) fn has_code(error: &io::Error, code: WIN32_ERROR) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
