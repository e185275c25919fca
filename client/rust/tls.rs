//! TLS to the broker's TCP port: accepts exactly the certificate in the token file, and no other.

use std::{io, net::Ipv4Addr, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        version::TLS13,
    },
};

use crate::Finding;

/// Makes the handshake on `stream` with the holder of the private key of `certificate`. Fails with an error around
/// [`Finding::OtherProgram`] if the other side is not that holder; then it got nothing but the greeting.
pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    certificate: CertificateDer<'static>,
) -> io::Result<TlsStream<S>> {
    let config = Arc::new(config(certificate).map_err(io::Error::other)?);
    // The verifier compares the whole certificate, so the name decides nothing.
    let opened = TlsConnector::from(config).connect(ServerName::from(Ipv4Addr::LOCALHOST), stream).await;
    opened.map_err(|error| match error.kind() {
        // What rustls reports as a wrong answer, unlike a connection that just ends, as in a broker's restart.
        io::ErrorKind::InvalidData => io::Error::other(Finding::OtherProgram),
        _ => error,
    })
}

fn config(certificate: CertificateDer<'static>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(OnlyThis { certificate, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let mut config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Trusts one certificate. Names and validity do not matter: the holder of its private key is the broker.
#[derive(Debug)]
struct OnlyThis {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OnlyThis {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
            server::{ClientHello, ResolvesServerCert},
            sign::CertifiedKey,
        },
    };

    use super::*;

    fn is_other_program(error: &io::Error) -> bool {
        let finding = error.get_ref().and_then(|inner| inner.downcast_ref::<Finding>());
        finding == Some(&Finding::OtherProgram)
    }

    fn certificate(key: &KeyPair, name: &str) -> CertificateDer<'static> {
        CertificateParams::new([name.to_owned()]).unwrap().self_signed(key).unwrap().into()
    }

    /// Shows a certificate, whether or not the key is that of the certificate.
    #[derive(Debug)]
    struct Shows(Arc<CertifiedKey>);

    impl ResolvesServerCert for Shows {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// Offers `shown` with `key` to a client that expects `expected`. Returns the client's outcome, and the data that
    /// the server received.
    async fn meet(
        expected: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        key: &KeyPair,
    ) -> (io::Result<()>, Vec<u8>) {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = ring::sign::any_supported_type(&key).unwrap();
        let shows = Shows(Arc::new(CertifiedKey::new(vec![shown.clone()], key)));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shows));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await {
                let _ = stream.read_to_end(&mut received).await;
            }
            received
        });
        let client = async {
            let stream = TcpStream::connect(address).await?;
            let mut stream = handshake(stream, expected.clone()).await?;
            stream.write_all(b"secret").await?;
            stream.shutdown().await
        };
        (client.await, serving.await.unwrap())
    }

    #[tokio::test]
    async fn only_the_holder_of_the_expected_certificate_gets_data() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let expected = certificate(&key, "localhost");
        let (done, received) = meet(&expected, &expected, &key).await;
        done.unwrap();
        assert_eq!(received, b"secret");
        // Another certificate of the same key is another one, too. The last has the right one without its key.
        for (shown, key) in [
            (certificate(&other, "localhost"), &other),
            (certificate(&key, "localhost"), &key),
            (expected.clone(), &other),
        ] {
            let (refused, received) = meet(&expected, &shown, key).await;
            assert!(is_other_program(&refused.unwrap_err()));
            assert_eq!(received, b"");
        }
    }

    #[tokio::test]
    async fn a_program_without_tls_gets_only_the_greeting() {
        let key = KeyPair::generate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let error = handshake(stream, certificate(&key, "localhost")).await.unwrap_err();
        assert!(is_other_program(&error));
    }
}
