//! The certificate of the kit's broker for TLS on its TCP port.

use std::sync::Arc;

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Makes a private key and a self-signed certificate like a broker's. Returns the certificate in PEM.
pub(crate) fn identity() -> Result<(TlsAcceptor, String)> {
    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    let pem = certificate.pem();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), pem))
}
