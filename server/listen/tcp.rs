//! The TCP port, on loopback only. The token of each request identifies the caller, not the connection.

use std::{io, net, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use super::BindError;

/// A port that clients can connect to. No connection is accepted yet.
#[derive(Debug)]
pub(super) struct BoundPort {
    listener: net::TcpListener,
    address: SocketAddr,
}

impl BoundPort {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let listener = net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Self { address: listener.local_addr()?, listener })
        };
        bind().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortTaken { address },
            _ => BindError::Port { address, source },
        })
    }

    /// The port's own address, with the number that the system chose for port 0.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers the port with the runtime. Must be called inside a runtime.
    pub(super) fn listen(self) -> io::Result<Listener> {
        Ok(Listener { listener: TcpListener::from_std(self.listener)?, address: self.address })
    }
}

/// The port, while clients are accepted.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Accepts the next client and returns its address.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.listener.accept().await?;
        // With Nagle's algorithm each small message would wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok((stream, address))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
