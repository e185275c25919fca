//! Journald as the sink of the log: each record is sent with its priority and fields, instead of as a line on standard
//! error.

use super::{
    journald_record::datagram,
    lanes::{Entry, Lane},
    record,
    sink::Sink,
};
use crate::config::LogFormat;

/// The journald behind standard error.
pub(super) struct Journald {
    socket: os::Socket,
    /// The configured form of messages.
    form: LogFormat,
}

impl Journald {
    /// Finds journald if standard error leads to it (`JOURNAL_STREAM`), and it takes records.
    pub(super) fn behind_standard_error(form: LogFormat) -> Option<Self> {
        Some(Self { socket: os::connect()?, form })
    }
}

impl Sink for Journald {
    /// The records, which are lines for programs, arrive one by one: none is cut off.
    fn write(&mut self, batch: &[(Lane, Entry)]) -> usize {
        let sent = batch.iter().take_while(|(lane, entry)| {
            let record = datagram(&record::bytes(LogFormat::Json, *lane, entry), self.form);
            os::send(&self.socket, &record).is_ok()
        });
        sent.count()
    }
}

#[cfg(target_os = "linux")]
mod os {
    use std::{env, io, os::unix::net::UnixDatagram};

    use rustix::fs::fstat;

    /// The place of journald's socket for native records.
    const JOURNALD: &str = "/run/systemd/journal/socket";

    pub(super) type Socket = UnixDatagram;

    /// Opens a socket for records, if standard error is the stream that the variable names and journald listens.
    pub(super) fn connect() -> Option<Socket> {
        let named = env::var("JOURNAL_STREAM").ok()?;
        let found = fstat(io::stderr()).ok()?;
        if named != format!("{}:{}", found.st_dev, found.st_ino) {
            return None;
        }
        UnixDatagram::unbound().and_then(|probe| probe.connect(JOURNALD)).ok()?;
        UnixDatagram::unbound().ok()
    }

    /// Sends a record, without a time limit. The path is looked up each time: journald may be restarted.
    pub(super) fn send(socket: &Socket, record: &[u8]) -> io::Result<()> {
        loop {
            match socket.send_to(record, JOURNALD) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::{convert::Infallible, io};

    /// There is no journald here.
    pub(super) type Socket = Infallible;

    pub(super) fn connect() -> Option<Socket> {
        None
    }

    pub(super) fn send(socket: &Socket, _record: &[u8]) -> io::Result<()> {
        match *socket {}
    }
}
