//! The TCP port, with TLS. The token of each request identifies the caller, not the connection.

use std::{
    io,
    net::{self, Ipv4Addr, SocketAddr},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;

use super::{
    BindError,
    os::{AutoPort, EndpointPlace},
    tls::{self, Tls},
};
use crate::{
    caller::certificate::TlsIdentity,
    config::{ListenConfig, TcpPort},
};

/// The bytes that the system keeps of a client until the broker reads them. With the system's own default a client that
/// is read slowly could leave megabytes there on each connection, and cost the time to copy them.
const UNREAD_BYTES: usize = 64 * 1_024;

/// The bytes of a client, plain or decrypted.
pub(super) type Stream = Either<TcpStream, tls::Stream>;

/// A port that clients can connect to. No connection is accepted yet.
#[derive(Debug)]
pub(super) struct BoundPort {
    listener: net::TcpListener,
    address: SocketAddr,
    /// `None` if `listen.tcp_plain` turns TLS off.
    tls: Option<Tls>,
    /// The token and the endpoint file of `auto`.
    pub(super) auto: Option<AutoPort>,
}

/// Makes a listener ready for the runtime. Returns its address.
fn prepare(listener: &net::TcpListener) -> io::Result<SocketAddr> {
    // Its connections inherit it.
    SockRef::from(listener).set_recv_buffer_size(UNREAD_BYTES)?;
    listener.set_nonblocking(true)?;
    listener.local_addr()
}

impl BoundPort {
    /// Takes the port. Reads the broker's certificate, and makes it at the first time. `auto` comes with the place of
    /// its endpoint file.
    pub(super) fn bind(port: TcpPort, place: Option<EndpointPlace>, config: &ListenConfig) -> Result<Self, BindError> {
        let address = match port {
            TcpPort::Auto => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            TcpPort::At(address) => address,
        };
        let bound = net::TcpListener::bind(address).and_then(|listener| Ok((prepare(&listener)?, listener)));
        let (address, listener) = bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortTaken { address },
            _ => BindError::Port { address, source },
        })?;
        Self::secure(listener, address, place, config)
    }

    /// Takes a port that a service manager has opened. Otherwise like [`BoundPort::bind`].
    pub(super) fn inherit(listener: net::TcpListener, config: &ListenConfig) -> Result<Self, BindError> {
        let address = prepare(&listener)
            .map_err(|error| BindError::Inherited { problem: format!("cannot prepare a socket: {error}") })?;
        Self::secure(listener, address, None, config)
    }

    fn secure(
        listener: net::TcpListener,
        address: SocketAddr,
        place: Option<EndpointPlace>,
        config: &ListenConfig,
    ) -> Result<Self, BindError> {
        if config.tcp_plain && place.is_none() {
            return Ok(Self { listener, address, tls: None, auto: None });
        }
        let identity = TlsIdentity::read_or_make(&config.tokens, Some(address.ip()))?;
        if !address.ip().is_loopback() && !identity.names(address.ip()) {
            tracing::warn!(
                certificate = %identity.path.display(),
                "the certificate does not name {}: Cardbroker's own clients accept it; other clients must be told the \
                 name localhost, or remove the certificate, start again, and make new token files",
                address.ip()
            );
        }
        let certificate_pem = identity.certificate_pem.clone();
        let tls = Some(Tls::new(identity)?);
        let auto = place.map(|place| place.publish(address, &certificate_pem)).transpose()?;
        Ok(Self { listener, address, tls, auto })
    }

    /// The port's own address, with the number that the system chose for port 0.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers the port with the runtime. Must be called inside a runtime.
    pub(super) fn listen(self) -> io::Result<Listener> {
        Ok(Listener { listener: TcpListener::from_std(self.listener)?, address: self.address, tls: self.tls })
    }
}

/// The port, while clients are accepted.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Listener {
    /// Accepts the next client and returns its address. The handshake comes later, with the first bytes.
    pub(super) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, client) = self.listener.accept().await?;
        // With Nagle's algorithm each small message would wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            Some(tls) => Either::Right(tls.accept(stream, client)),
            None => Either::Left(stream),
        };
        Ok((stream, client))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
