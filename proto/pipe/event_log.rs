//! The Windows event log, in the log `Application`.

use std::{
    io,
    ptr::{self, NonNull},
};

use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

/// The maximum UTF-16 units of an event's text: the system refuses more than 31,839.
const MAX_UNITS: usize = 31_000;

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Something failed.
    Error,
    /// Something may fail.
    Warning,
    /// Something that belongs to the normal work.
    Information,
}

/// A source of events, which may be registered with a file of messages or not. Dropping it closes it.
#[derive(Debug)]
pub struct EventSource(NonNull<std::ffi::c_void>);

// SAFETY: the handle belongs to this value alone, and the system's functions may be called with it on any thread.
unsafe impl Send for EventSource {}

impl EventSource {
    /// Opens the source `name` of this machine.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(name: &str) -> io::Result<Self> {
        let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
        // SAFETY: the name ends with 0. No address stands for this machine.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), name.as_ptr()) };
        NonNull::new(handle).map(Self).ok_or_else(io::Error::last_os_error)
    }

    /// Writes an event with one text, which is cut if it is too long. `number` is that of its message.
    ///
    /// # Errors
    /// The operating system's.
    pub fn report(&self, kind: EventKind, number: u32, text: &str) -> io::Result<()> {
        let kind = match kind {
            EventKind::Error => EVENTLOG_ERROR_TYPE,
            EventKind::Warning => EVENTLOG_WARNING_TYPE,
            EventKind::Information => EVENTLOG_INFORMATION_TYPE,
        };
        // A 0 would end the text early.
        let units = text.encode_utf16().map(|unit| if unit == 0 { u16::from(b' ') } else { unit });
        let text: Vec<u16> = units.take(MAX_UNITS).chain([0]).collect();
        let texts = [text.as_ptr()];
        // SAFETY: the handle is open as long as `self` is borrowed. There is one text, which ends with 0, and both it
        // and the list of texts live during the call. There is neither a user nor data.
        let done = unsafe {
            ReportEventW(
                self.0.as_ptr(),
                kind,
                0,
                number,
                ptr::null_mut(),
                texts.len() as u16,
                0,
                texts.as_ptr(),
                ptr::null(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by `RegisterEventSourceW`, and this is the only time that it is closed.
        unsafe { DeregisterEventSource(self.0.as_ptr()) };
    }
}
