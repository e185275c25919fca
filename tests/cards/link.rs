//! The driver's protocol: messages of a big-endian length of two bytes and that many bytes.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// A request of the driver to the card.
pub(super) enum Request {
    PowerOff,
    /// Power on, or a reset.
    Reset,
    /// Asks for the answer to reset; the driver also sends it to check whether the card is present.
    Atr,
    Command(Vec<u8>),
    /// A control byte without meaning for a card.
    Other,
}

/// A connection to a slot of the driver.
pub(super) struct Link(TcpStream);

impl Link {
    pub(super) fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Closes the connection for all clones of it.
    pub(super) fn close(&self) {
        // Fails only if the connection has already ended.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// The driver's next request; `None` if none begins within `timeout`.
    pub(super) fn receive(&mut self, timeout: Option<Duration>) -> io::Result<Option<Request>> {
        if let Some(timeout) = timeout {
            // Zero would mean no timeout at all.
            self.0.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
            let begun = self.0.peek(&mut [0]);
            self.0.set_read_timeout(None)?;
            match begun {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                begun => begun?,
            };
        }
        let mut length = [0; 2];
        self.read(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        self.read(&mut message)?;
        Ok(Some(match message[..] {
            [0] => Request::PowerOff,
            [1 | 2] => Request::Reset,
            [4] => Request::Atr,
            [] | [_] => Request::Other,
            _ => Request::Command(message),
        }))
    }

    /// Answers the driver with at most 65,535 bytes, enough for every answer to a command of that size.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        self.0.write_all(&[&length.to_be_bytes(), message].concat())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        acknowledge_at_once(&self.0);
        self.0.read_exact(buffer)
    }
}

/// The driver sends length and body separately: without this, its second segment waits 40 ms for the acknowledgement.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    // An error costs speed only.
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_stream: &TcpStream) {}
