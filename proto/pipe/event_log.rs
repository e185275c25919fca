//! The Windows event log, in the log `Application`.

use std::{
    io,
    ptr::{self, NonNull},
};

use windows_sys::Win32::{
    Foundation::ERROR_FILE_NOT_FOUND,
    System::{
        EventLog::{
            DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
            RegisterEventSourceW, ReportEventW,
        },
        Registry::{
            HKEY, HKEY_LOCAL_MACHINE, KEY_SET_VALUE, REG_DWORD, REG_EXPAND_SZ, REG_OPTION_NON_VOLATILE, REG_VALUE_TYPE,
            RegCloseKey, RegCreateKeyExW, RegDeleteTreeW, RegSetValueExW,
        },
    },
};

use crate::convention::{checked, with_end};

/// The key of the sources of the log `Application`.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";

/// A file of Windows whose messages 1–1000 are the text of the event.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// The maximum UTF-16 units of an event's text: the system refuses more than 31,839.
const MAX_UNITS: usize = 31_000;

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A loss of function or data that an administrator has to act on.
    Error,
    /// A sign of a problem to come, or a request that was refused.
    Warning,
    /// Normal work, such as a start.
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
    /// An error of the operating system.
    pub fn open(name: &str) -> io::Result<Self> {
        let name = with_end(name);
        // SAFETY: the name ends with 0. No address stands for this machine.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), name.as_ptr()) };
        NonNull::new(handle).map(Self).ok_or_else(io::Error::last_os_error)
    }

    /// Writes an event with one text, which is cut if it is too long. `number` is that of its message.
    ///
    /// # Errors
    /// An error of the operating system.
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

/// Registers a source of this machine, so that its events are shown with their text. Needs the rights of an
/// administrator.
///
/// # Errors
/// An error of the operating system.
pub fn register_source(name: &str) -> io::Result<()> {
    let key = Key::create(&format!(r"{SOURCES}\{name}"))?;
    let messages: Vec<u8> = with_end(MESSAGES).into_iter().flat_map(u16::to_le_bytes).collect();
    key.set("EventMessageFile", REG_EXPAND_SZ, &messages)?;
    let types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;
    key.set("TypesSupported", REG_DWORD, &u32::from(types).to_le_bytes())
}

/// Removes a source of this machine; one that is not there is no error.
///
/// # Errors
/// An error of the operating system.
pub fn unregister_source(name: &str) -> io::Result<()> {
    let path = with_end(&format!(r"{SOURCES}\{name}"));
    // SAFETY: the path ends with 0, and the key above it is one of the system's own.
    let code = unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) };
    if code == ERROR_FILE_NOT_FOUND { Ok(()) } else { checked(code) }
}

/// An open key of the registry. Dropping it closes it.
struct Key(HKEY);

impl Key {
    /// Opens a key of this machine to set values. Creates it if it is missing.
    fn create(path: &str) -> io::Result<Self> {
        let path = with_end(path);
        let mut key: HKEY = ptr::null_mut();
        // SAFETY: the path ends with 0, and `key` is a place for the handle. Neither a class nor attributes are given,
        // and it is not asked whether the key is new.
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                ptr::null(),
                REG_OPTION_NON_VOLATILE,
                KEY_SET_VALUE,
                ptr::null(),
                &mut key,
                ptr::null_mut(),
            )
        };
        checked(code).map(|()| Self(key))
    }

    /// Sets a value. A text has a 0 at its end.
    fn set(&self, name: &str, kind: REG_VALUE_TYPE, value: &[u8]) -> io::Result<()> {
        let name = with_end(name);
        // SAFETY: the key is open as long as `self` is borrowed, the name ends with 0, and the value has the given
        // length, in bytes.
        checked(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, value.as_ptr(), value.len() as u32) })
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key was opened by `RegCreateKeyExW`, and this is the only time that it is closed.
        unsafe { RegCloseKey(self.0) };
    }
}
