//! A gRPC channel over TLS as any program opens one: the broker's certificate is its only root.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Opens a channel to the broker at `address`, whose certificate is in `file`. `origin` is the beginning of the URLs in
/// the requests.
///
/// # Errors
/// The broker does not answer or has another certificate.
pub async fn channel(address: &str, file: &Path, origin: &str) -> anyhow::Result<Channel> {
    let (address, file) = (address.to_owned(), file.to_owned());
    let connect = move |_| {
        let (address, file) = (address.clone(), file.clone());
        async move {
            let stream = stream(&address, &file, &[b"h2"]).await.map_err(std::io::Error::other)?;
            std::io::Result::Ok(TokioIo::new(stream))
        }
    };
    Ok(Endpoint::from_shared(origin.to_owned())?.connect_with_connector(service_fn(connect)).await?)
}

/// Opens a connection that offers these protocols.
///
/// # Errors
/// The errors of [`channel`].
pub async fn stream(address: &str, file: &Path, protocols: &[&[u8]]) -> anyhow::Result<TlsStream<TcpStream>> {
    Connector::new(file, protocols)?.connect(address).await
}

/// Makes connections with TLS to one broker. Clones share the certificate.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// Prepares connections to the broker whose certificate is in `file`, which offer these protocols.
    ///
    /// # Errors
    /// The file has no certificate.
    pub fn new(file: &Path, protocols: &[&[u8]]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file).ok().context("no certificate")?)?;
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The broker does not answer or has another certificate.
    pub async fn connect(&self, address: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        Ok(self.0.connect(ServerName::try_from("localhost")?, TcpStream::connect(address).await?).await?)
    }
}
