//! The connection to a TCP port: with TLS to the broker whose certificate is in the token file, or plain.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{client::TlsStream, rustls::pki_types::CertificateDer};

use crate::{
    Endpoint, Error,
    quiet::{Quiet, quiet},
    tls,
    token::{TokenFile, TokenFileError},
};

/// The token file of a client, and the certificate that it had at first. The client stays with that certificate: the
/// token of another one could reach a broker for which it was not made.
#[derive(Debug)]
pub(crate) struct Credentials {
    endpoint: Endpoint,
    path: PathBuf,
    certificate: Option<CertificateDer<'static>>,
}

impl Credentials {
    /// Returns the credentials for an endpoint that uses a token file. A bad file is reported before there is a
    /// connection. Warns of plain TCP.
    ///
    /// # Errors
    /// [`Error::TokenFile`]; [`Error::Invalid`] if TLS has no token file, and so no certificate.
    pub(crate) fn of(endpoint: Option<&Endpoint>, file: Option<PathBuf>) -> Result<Option<Arc<Self>>, Error> {
        let Some(endpoint @ (Endpoint::Tcp { .. } | Endpoint::PlainTcp { .. })) = endpoint else { return Ok(None) };
        if let Endpoint::PlainTcp { .. } = endpoint {
            tracing::warn!(%endpoint, "plain TCP: a program that takes or relays the port reads tokens and PINs");
        } else if file.is_none() {
            let made = "make one with \"cardbroker token new\"";
            let message = format!("{endpoint} needs a token file, which has the broker's certificate: {made}");
            return Err(Error::invalid("token_file", message));
        }
        let Some(path) = file else { return Ok(None) };
        let certificate = read_for(endpoint, &path)?.certificate;
        Ok(Some(Self { endpoint: endpoint.clone(), path, certificate }.into()))
    }

    /// Reads the token file again: the token in it may have been replaced.
    ///
    /// # Errors
    /// The file is bad now, or has another certificate.
    pub(crate) fn read(&self) -> Result<TokenFile, TokenFileError> {
        let found = read_for(&self.endpoint, &self.path)?;
        match found.certificate == self.certificate {
            true => Ok(found),
            false => Err(TokenFileError::of(&self.path, "has another certificate than before: connect anew")),
        }
    }
}

/// Reads the token file for an endpoint. With TLS it needs the certificate; a token that came with one is not sent over
/// plain TCP.
fn read_for(endpoint: &Endpoint, path: &Path) -> Result<TokenFile, TokenFileError> {
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
pub(crate) async fn plain(address: String) -> io::Result<TokioIo<Quiet<TcpStream>>> {
    connect(&address).await.map(TokioIo::new)
}

/// Connects with TLS to the broker whose certificate is in the token file.
///
/// # Errors
/// An error of the operating system; an error around `Finding::OtherProgram` if that broker is not there.
pub(crate) async fn secured(
    address: String,
    credentials: Option<Arc<Credentials>>,
) -> io::Result<TokioIo<TlsStream<Quiet<TcpStream>>>> {
    let found = credentials.ok_or(io::ErrorKind::InvalidInput)?.read().map_err(io::Error::other)?;
    let certificate = found.certificate.ok_or(io::ErrorKind::Other)?;
    tls::handshake(connect(&address).await?, certificate).await.map(TokioIo::new)
}

/// Connects to an address without a look at the program there.
pub(crate) async fn connect(address: &str) -> io::Result<Quiet<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // Without it each small message waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    Ok(quiet(stream))
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_client_stays_with_the_certificate_of_its_token_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.token");
        let write = |token: &str, certificate: &str| {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
            fs::write(&path, format!("{token}\n{pem}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("first", "MAA=");
        let endpoint = "https://127.0.0.1:7".parse().unwrap();
        let credentials = Credentials::of(Some(&endpoint), Some(path.clone())).unwrap().unwrap();
        write("second", "MAA=");
        assert_eq!(credentials.read().unwrap().token.metadata().to_str().unwrap(), "Bearer second");
        write("third", "MAE=");
        assert!(credentials.read().unwrap_err().problem.starts_with("has another certificate than before"));
    }
}
