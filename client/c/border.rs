//! The border to C: pointers that come in and go out, and the place where panics end.

use std::{
    ffi::{CStr, CString, c_char},
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{constants::CARDBROKER_CODE_OK, error::Error};

/// C's pointer to a variable that receives a handle; NULL if C does not want it.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<*mut T>>;

/// Runs the body of a function that may fail. Returns the code, and stores NULL or the failure in `error`.
pub(crate) fn call(error: Out<Error>, body: impl FnOnce() -> Result<(), Box<Error>>) -> i32 {
    let failed = caught(body).unwrap_or_else(|| Err(Error::panicked())).err();
    let code = failed.as_ref().map_or(CARDBROKER_CODE_OK, |failed| failed.code());
    if let Some(error) = error {
        error.write(failed.map_or(ptr::null_mut(), Box::into_raw));
    }
    code
}

/// Runs the body of a function without failures.
pub(crate) fn value<T>(after_panic: T, body: impl FnOnce() -> T) -> T {
    caught(body).unwrap_or(after_panic)
}

/// Runs the body of a function that tells whether something is so: 1, or 0, also after a panic.
pub(crate) fn flag(body: impl FnOnce() -> bool) -> i32 {
    value(0, || body().into())
}

/// Returns the body's result, or `None` if it panicked. A panic may leave a handle half changed, but not unsound: what
/// changes is behind locks, and `locked` accepts their poison.
fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Locks what several threads of C may change.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Errors
/// The argument `name` is NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Box<Error>> {
    argument.ok_or_else(|| Error::invalid(format!("the argument {name} is NULL")))
}

/// Stores NULL in the variable for a handle and returns it, to be filled by [`give`].
///
/// # Errors
/// The argument `name` is NULL.
pub(crate) fn emptied<'a, T>(out: Out<'a, T>, name: &str) -> Result<&'a mut *mut T, Box<Error>> {
    Ok(given(out, name)?.write(ptr::null_mut()))
}

/// Hands a new handle over to C.
pub(crate) fn give<T>(out: &mut *mut T, value: T) {
    *out = Box::into_raw(Box::new(value));
}

/// Returns the text at a pointer.
///
/// # Errors
/// The argument `name` is NULL or not UTF-8.
///
/// # Safety
/// The pointer is NULL, or points to a text that ends with a NUL and lives as long as `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Box<Error>> {
    // SAFETY: this function has the same condition.
    given(unsafe { optional_text(pointer, name) }?, name)
}

/// Returns the text at a pointer, or `None` for NULL.
///
/// # Errors
/// The argument `name` is not UTF-8.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>, Box<Error>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the pointer is not NULL; the rest is this function's condition.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| Error::invalid(format!("the argument {name} is not UTF-8")))
}

/// Returns the array at a pointer; NULL only with length 0.
///
/// # Errors
/// The argument `name` is NULL, or longer than memory can be.
///
/// # Safety
/// The pointer is NULL, or points to `length` bytes that live as long as `'a` and do not change.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, length: usize, name: &str) -> Result<&'a [u8], Box<Error>> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Error::invalid(format!("the argument {name} is NULL")));
    }
    if isize::try_from(length).is_err() {
        return Err(Error::invalid(format!("the argument {name} is too long")));
    }
    // SAFETY: neither NULL nor longer than isize::MAX; the rest is this function's condition.
    Ok(unsafe { slice::from_raw_parts(pointer, length) })
}

/// Stores the length of an array for C and returns its address; NULL for none and for an empty one.
pub(crate) fn array(bytes: Option<&[u8]>, length: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    if let Some(length) = length {
        length.write(bytes.map_or(0, <[u8]>::len));
    }
    bytes.filter(|bytes| !bytes.is_empty()).map_or(ptr::null(), <[u8]>::as_ptr)
}

/// Makes a text for C. A NUL inside, which no text of the broker should have, ends it.
pub(crate) fn c_text(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_else(|error| {
        let end = error.nul_position();
        let mut bytes = error.into_vec();
        bytes.truncate(end);
        CString::new(bytes).unwrap_or_default()
    })
}

/// The address of a text for C; NULL for `None`.
pub(crate) fn address(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// Nanoseconds for C; the longest time that fits, if there are more.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// # Errors
/// The argument `name` is no constant of its kind.
pub(crate) fn constant<T: TryFrom<i32>>(number: i32, name: &str) -> Result<T, Box<Error>> {
    T::try_from(number).map_err(|_| Error::invalid(format!("the argument {name} is no such constant: {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::CARDBROKER_CODE_INTERNAL;

    /// A function of the interface with a fault.
    extern "C" fn planted(error: Out<Error>) -> i32 {
        call(error, || panic!("planted"))
    }

    #[test]
    fn a_planted_panic_becomes_an_error() {
        let mut error = MaybeUninit::uninit();
        assert_eq!(planted(Some(&mut error)), CARDBROKER_CODE_INTERNAL);
        // SAFETY: `call` stores a pointer in each case.
        let error = unsafe { error.assume_init() };
        // SAFETY: after a failure it comes from `Box::into_raw`, and nobody else owns it.
        let error = unsafe { Box::from_raw(error) };
        assert!(error.message().to_str().unwrap().contains("panicked"));
        assert_eq!(planted(None), CARDBROKER_CODE_INTERNAL);
        assert_eq!(value(7, || panic!("planted")), 7);
        assert_eq!([flag(|| true), flag(|| false), flag(|| panic!("planted"))], [1, 0, 0]);
    }

    #[test]
    fn a_lock_outlives_a_panic() {
        let mutex = Mutex::new(1);
        value((), || {
            let _guard = locked(&mutex);
            panic!("planted")
        });
        assert_eq!(*locked(&mutex), 1);
    }

    #[test]
    fn texts_and_arrays_are_checked() {
        // SAFETY: each pointer is NULL or that of a literal with a NUL.
        let read = |pointer| unsafe { text(pointer, "reader") }.map_err(|error| error.message().to_owned());
        assert_eq!(read(c"desk".as_ptr()).unwrap(), "desk");
        assert_eq!(read(ptr::null()).unwrap_err().as_c_str(), c"the argument reader is NULL");
        assert_eq!(read(c"\xFF".as_ptr()).unwrap_err().as_c_str(), c"the argument reader is not UTF-8");
        // SAFETY: the length is 0, or the pointer is NULL, or the length is too great to be used.
        let length = |pointer, length| unsafe { bytes(pointer, length, "data") }.map(<[u8]>::len).ok();
        assert_eq!(length(ptr::null(), 0), Some(0));
        assert_eq!((length(ptr::null(), 1), length(b"".as_ptr(), usize::MAX)), (None, None));
    }

    #[test]
    fn an_empty_array_has_no_address() {
        let mut length = MaybeUninit::new(7);
        assert!(array(Some(&[]), Some(&mut length)).is_null() && array(None, None).is_null());
        // SAFETY: it was made with a value.
        assert_eq!(unsafe { length.assume_init() }, 0);
        let bytes = [1, 2];
        assert_eq!(array(Some(&bytes), None), bytes.as_ptr());
    }

    #[test]
    fn a_nul_ends_a_text() {
        assert_eq!(c_text("a\0b").as_c_str(), c"a");
    }
}
