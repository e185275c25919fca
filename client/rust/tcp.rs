//! The connection to a TCP port: with TLS to the broker whose certificate is in the token file, or plain.

use std::{
    io,
    path::{Path, PathBuf},
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    Endpoint, Error, tls,
    token::{TokenFile, TokenFileError},
};

/// Returns the token file that an endpoint uses, if any, after a look at it: a bad file is reported before there is a
/// connection. Warns of plain TCP.
///
/// # Errors
/// [`Error::TokenFile`]; [`Error::Invalid`] if TLS has no token file, and so no certificate.
pub(crate) fn token_file(endpoint: Option<&Endpoint>, file: Option<PathBuf>) -> Result<Option<PathBuf>, Error> {
    let Some(endpoint @ (Endpoint::Tcp { .. } | Endpoint::PlainTcp { .. })) = endpoint else { return Ok(None) };
    if let Endpoint::PlainTcp { .. } = endpoint {
        tracing::warn!(%endpoint, "plain TCP: a program that takes or relays the port reads tokens and PINs");
    } else if file.is_none() {
        let made = "make one with \"cardbroker token new\"";
        let message = format!("{endpoint} needs a token file, which has the broker's certificate: {made}");
        return Err(Error::invalid("token_file", message));
    }
    if let Some(path) = &file {
        read_for(endpoint, path)?;
    }
    Ok(file)
}

/// Reads the token file for an endpoint. With TLS it needs the certificate; a token that came with one is not sent over
/// plain TCP.
pub(crate) fn read_for(endpoint: &Endpoint, path: &Path) -> Result<TokenFile, TokenFileError> {
    let found = TokenFile::read(path)?;
    match (endpoint, &found.certificate) {
        (Endpoint::Tcp { .. }, None) => Err(TokenFileError::of(
            path,
            "has no certificate: make a new one with \"cardbroker token new\", or use http:// for plain TCP",
        )),
        (Endpoint::PlainTcp { .. }, Some(_)) => {
            Err(TokenFileError::of(path, "has a certificate, and http:// is plain TCP: use https://"))
        }
        _ => Ok(found),
    }
}

/// The address to connect to. `localhost` is not resolved: another program may hold the port at its other address.
pub(crate) fn address(host: &str, port: u16) -> String {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    format!("{host}:{port}")
}

/// Connects without TLS, to any program that listens at the port.
pub(crate) async fn plain(address: String) -> io::Result<TokioIo<TcpStream>> {
    connect(&address).await.map(TokioIo::new)
}

/// Connects with TLS to the broker whose certificate is in the token file.
///
/// # Errors
/// The operating system's; an error around `Finding::OtherProgram` if that broker is not there.
pub(crate) async fn secured(
    address: String,
    endpoint: Endpoint,
    file: Option<PathBuf>,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let file = file.ok_or(io::ErrorKind::InvalidInput)?;
    let found = read_for(&endpoint, &file).map_err(io::Error::other)?;
    let certificate = found.certificate.ok_or(io::ErrorKind::Other)?;
    tls::handshake(connect(&address).await?, certificate).await.map(TokioIo::new)
}

/// Connects to an address without a look at the program there.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Without it each small message waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    Ok(stream)
}
