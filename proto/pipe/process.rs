//! Other processes of this machine: whether one runs, and since when.

use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
};

use windows_sys::Win32::{
    Foundation::{ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, FILETIME, WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::Threading::{
        GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, WaitForSingleObject,
    },
};

/// The state of the process with a number, as the system tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// No process has the number, or only one that has ended.
    Ended,
    /// A process has the number.
    Running {
        /// Its start, in units of 100 ns since 1601; `None` if this user may not know.
        started: Option<u64>,
    },
}

/// Looks a process up by its number.
///
/// # Errors
/// An error of the operating system.
pub fn process_state(number: u32) -> io::Result<ProcessState> {
    // SAFETY: takes numbers alone.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE, 0, number) };
    if process.is_null() {
        let error = io::Error::last_os_error();
        return match error.raw_os_error().map(i32::cast_unsigned) {
            Some(ERROR_INVALID_PARAMETER) => Ok(ProcessState::Ended),
            Some(ERROR_ACCESS_DENIED) => Ok(ProcessState::Running { started: None }),
            _ => Err(error),
        };
    }
    // SAFETY: the call succeeded, so `process` is an open handle, and no other value owns it.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    // SAFETY: the handle is open, and was opened with the right to wait. Nothing is waited for.
    let waited = unsafe { WaitForSingleObject(process.as_raw_handle(), 0) };
    match waited {
        WAIT_OBJECT_0 => return Ok(ProcessState::Ended),
        WAIT_TIMEOUT => {}
        _ => return Err(io::Error::last_os_error()),
    }
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let [mut created, mut exited, mut kernel, mut user] = [zero; 4];
    // SAFETY: the handle is open, and was opened with the right to query. The four are places for times.
    let done = unsafe { GetProcessTimes(process.as_raw_handle(), &mut created, &mut exited, &mut kernel, &mut user) };
    let started = u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime);
    Ok(ProcessState::Running { started: (done != 0).then_some(started) })
}
