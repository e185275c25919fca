//! A system without a service manager that the broker knows.

use std::{convert::Infallible, io, time::Duration};

/// There is no service manager of this kind here.
#[derive(Debug)]
pub(super) struct Socket(Infallible);

impl Socket {
    pub(super) async fn send(&self, _message: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

pub(super) fn connect() -> io::Result<Option<Socket>> {
    Ok(None)
}

pub(super) fn watchdog() -> Option<Duration> {
    None
}

pub(super) fn ready() -> String {
    String::new()
}

pub(super) fn reloading() -> String {
    String::new()
}

pub(super) fn stopping() -> String {
    String::new()
}

pub(super) fn extension(_time: Duration) -> String {
    String::new()
}

pub(super) fn ping() -> String {
    String::new()
}

pub(super) fn status(_line: &str) -> String {
    String::new()
}
