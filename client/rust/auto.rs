//! The connection to the port that a broker of this user has chosen by itself (`tcp:auto`): port, certificate and token
//! come from its endpoint file.
//!
//! Another broker has another port and another token, so a token is bound to the connection for which the file was
//! read. A connection is therefore never replaced within a channel: after its end the next call reads the file again
//! and opens a new channel.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use cardbroker_local::{
    discovery::Finding,
    endpoint_file::EndpointFile,
    endpoint_place::{endpoint_place, read_running},
};
use http::{Request, Response, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::client::TlsStream;
use tonic::{
    body::Body,
    transport::{Channel, Error},
};
use tower::{Service, ServiceExt, service_fn};

use crate::{
    quiet::Quiet,
    route::{transport, within},
    tcp, tls,
    token::Token,
};

/// Sends each request on a connection to the broker of the endpoint file, with the token of the same reading of the
/// file. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct AutoChannel {
    current: Arc<Mutex<Option<Connection>>>,
    /// The time for one attempt to connect.
    timeout: Duration,
}

/// A channel with its one connection.
#[derive(Debug, Clone)]
struct Connection {
    channel: Channel,
    reading: Arc<Reading>,
}

/// The parts that belong to one connection. Made before it, and filled by its connector.
#[derive(Debug, Default)]
struct Reading {
    /// The token and the port in the file; empty until the connection is open.
    found: OnceLock<(Token, SocketAddr)>,
    /// Whether the connection has ended, or is not used any more.
    is_over: AtomicBool,
}

impl AutoChannel {
    /// A channel without a connection yet. One attempt to connect takes no longer than `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { current: Arc::default(), timeout }
    }

    /// Opens the connection unless there is one.
    ///
    /// # Errors
    /// An error around a `Finding`.
    pub(crate) async fn open(&self) -> Result<(), Error> {
        self.connection().await.map(drop)
    }

    /// The port of the latest connection.
    pub(crate) async fn address(&self) -> Option<SocketAddr> {
        self.current.lock().await.as_ref()?.reading.found.get().map(|(_, address)| *address)
    }

    async fn connection(&self) -> Result<Connection, Error> {
        let mut current = self.current.lock().await;
        match &*current {
            Some(connection) if !connection.reading.is_over.load(Ordering::Acquire) => Ok(connection.clone()),
            _ => Ok(current.insert(Connection::open(self.timeout).await?).clone()),
        }
    }
}

impl Service<Request<Body>> for AutoChannel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Connection { mut channel, reading } = this.connection().await?;
            if let Some((token, _)) = reading.found.get() {
                request.headers_mut().insert(AUTHORIZATION, token.header());
            }
            channel.ready().await?.call(request).await
        })
    }
}

impl Connection {
    /// Reads the endpoint file and connects. If the connection ends, the channel fails.
    async fn open(timeout: Duration) -> Result<Self, Error> {
        let reading = Arc::new(Reading::default());
        let of_connector = Arc::clone(&reading);
        let connect = service_fn(move |_| within(timeout, connect(Arc::clone(&of_connector))));
        // The broker's name, whatever its port.
        let channel = transport("http://localhost".to_owned())?.connect_with_connector(connect).await?;
        Ok(Self { channel, reading })
    }
}

async fn connect(reading: Arc<Reading>) -> io::Result<TokioIo<Watched>> {
    if reading.found.get().is_some() {
        // The channel asks for a second connection. Its requests have the token of the first one.
        reading.is_over.store(true, Ordering::Release);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let EndpointFile { address, token, certificate, broker } = endpoint_file().map_err(io::Error::other)?;
    let token = Token::parse(token.expose()).ok_or(io::ErrorKind::InvalidData)?;
    let stream = tcp::connect(&address.to_string()).await?;
    let stream = tls::handshake(stream, certificate).await.map_err(|error| match endpoint_file() {
        // The broker ended after its file was read, and another program has its port.
        Err(finding) if finding.is_passing() => io::Error::other(finding),
        Ok(now) if now.broker != broker => io::ErrorKind::ConnectionReset.into(),
        _ => error,
    })?;
    let _ = reading.found.set((token, address));
    Ok(TokioIo::new(Watched { stream, reading }))
}

fn endpoint_file() -> Result<EndpointFile, Finding> {
    read_running(&endpoint_place())
}

/// The bytes of a connection, which tells its reading when it is dropped.
struct Watched {
    stream: TlsStream<Quiet<TcpStream>>,
    reading: Arc<Reading>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.reading.is_over.store(true, Ordering::Release);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
