//! TLS on the TCP port: TLS 1.3 with the broker's own certificate.
//!
//! The handshake is part of reading from and writing to the stream, so the deadline and the eviction of a connection
//! without a request cover it, and no other client waits for it.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    Accept, TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        version::TLS13,
    },
    server::TlsStream,
};

use crate::caller::certificate::{TlsIdentity, TlsIdentityError};

/// The name that clients expect in the certificate, whatever the address.
const SERVER_NAME: &str = "localhost";

/// Begins handshakes with the broker's certificate. Clones share it.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    /// Prepares handshakes as `identity`.
    ///
    /// # Errors
    /// [`TlsIdentityError::Unfit`] if clients would refuse the certificate, or the key does not belong to it.
    pub(super) fn new(identity: TlsIdentity) -> Result<Self, TlsIdentityError> {
        let TlsIdentity { path, certificate, key, .. } = identity;
        let provider = Arc::new(ring::default_provider());
        let config = check(&certificate, &provider).and_then(|()| {
            let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
            config.with_no_client_auth().with_single_cert(vec![certificate], key)
        });
        let mut config = config.map_err(|error| TlsIdentityError::Unfit { path, problem: error.to_string() })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Each connection makes a handshake of its own.
        config.send_tls13_tickets = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Begins the handshake with the client at `client`.
    pub(super) fn accept(&self, stream: TcpStream, client: SocketAddr) -> Stream {
        Stream { state: State::Handshake(Box::new(self.0.accept(stream))), client }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

/// Checks a certificate as clients do that accept only this one: its names, its validity, its form.
fn check(certificate: &CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider)).build();
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| rustls::Error::General(error.to_string()))?;
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()).map(drop)
}

/// The decrypted bytes of one client.
pub(super) struct Stream {
    state: State,
    client: SocketAddr,
}

enum State {
    Handshake(Box<Accept<TcpStream>>),
    Open(Box<TlsStream<TcpStream>>),
    /// The handshake has failed; nothing can be read or written.
    Failed,
}

impl Stream {
    /// Returns the open stream, after the handshake.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let State::Handshake(handshake) = &mut self.state {
            self.state = match ready!(Pin::new(handshake).poll(context)) {
                Ok(stream) => State::Open(Box::new(stream)),
                Err(error) => {
                    self.state = State::Failed;
                    tracing::debug!(client = %self.client, %error, "connection closed: the TLS handshake failed");
                    return Poll::Ready(Err(error));
                }
            };
        }
        Poll::Ready(match &mut self.state {
            State::Open(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").field("client", &self.client).finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_open(context))?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        // rustls takes all parts into one record.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream).poll_shutdown(context),
            _ => Poll::Ready(Ok(())),
        }
    }
}
