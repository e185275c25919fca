//! The broker's TLS identity: its private key and its self-signed certificate, in one PEM file beside the tokens file.
//!
//! The file is made once, by the first start with a TCP port or the first `cardbroker token new`, and kept: each token
//! file has a copy of the certificate, and clients accept no other.

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use cardbroker_local::private_file::{self, PrivateFileError};
use rcgen::{CertificateParams, DnType, KeyPair};
use tokio_rustls::rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
};
use zeroize::Zeroizing;

use crate::caller::token_file::complete_file;

/// The name of the file, in the folder of the tokens file.
const FILE_NAME: &str = "tls.pem";

/// The names in the certificate besides the address of the port. Clients expect `localhost`, whatever the address.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The private key and the certificate of the broker. `Debug` shows neither.
pub struct TlsIdentity {
    /// The file that both are in.
    pub path: PathBuf,
    /// The certificate, for the handshake.
    pub certificate: CertificateDer<'static>,
    /// The private key of the certificate.
    pub key: PrivateKeyDer<'static>,
    /// The certificate as PEM, with a line break at its end, for token files.
    pub certificate_pem: String,
}

/// Why the broker has no TLS identity. Never contains a part of the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsIdentityError {
    /// The file is unreadable or unsafe.
    #[error("the certificate {} {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The problem of the file, and its remedy.
        source: PrivateFileError,
    },
    /// The file is not a key and a certificate that clients accept.
    #[error(
        "the certificate {} cannot be used ({problem}): remove it, start again, and make new token files",
        path.display()
    )]
    Unfit {
        /// The path of the file.
        path: PathBuf,
        /// The problem of the key or the certificate.
        problem: String,
    },
    /// The file does not exist and cannot be made.
    #[error("the certificate {} cannot be made: {source}", path.display())]
    Make {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl TlsIdentity {
    /// Reads the identity beside the tokens file at `tokens`, which no other user may read or change. Makes it if there
    /// is none, with `address` among the names in the certificate.
    ///
    /// # Errors
    /// [`TlsIdentityError`] if the file is unreadable, unsafe or invalid, or cannot be made.
    pub fn read_or_make(tokens: &Path, address: Option<IpAddr>) -> Result<Self, TlsIdentityError> {
        Self::read_or_make_with(tokens, address, private_file::read)
    }

    /// Like [`TlsIdentity::read_or_make`], for `cardbroker token`: root also reads the file of another user, and makes
    /// it for the user who owns the tokens file.
    ///
    /// # Errors
    /// The errors of [`TlsIdentity::read_or_make`].
    pub fn read_or_make_as_administrator(tokens: &Path, address: Option<IpAddr>) -> Result<Self, TlsIdentityError> {
        Self::read_or_make_with(tokens, address, private_file::read_as_administrator)
    }

    /// Whether the certificate names this address.
    pub fn names(&self, address: IpAddr) -> bool {
        let name = ServerName::IpAddress(address.into());
        ParsedCertificate::try_from(&self.certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }

    fn read_or_make_with(
        tokens: &Path,
        address: Option<IpAddr>,
        read: fn(&Path) -> Result<Zeroizing<String>, PrivateFileError>,
    ) -> Result<Self, TlsIdentityError> {
        let path = tokens.with_file_name(FILE_NAME);
        let text = match read(&path) {
            Err(PrivateFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                make(&path, address, tokens).map_err(|source| TlsIdentityError::Make { path: path.clone(), source })?;
                // Another process may have made it first.
                read(&path)
            }
            found => found,
        };
        let text = text.map_err(|source| TlsIdentityError::File { path: path.clone(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, TlsIdentityError> {
        let unfit = |problem: &str| TlsIdentityError::Unfit { path: path.clone(), problem: problem.to_owned() };
        let certificate_pem = certificate_block(text).ok_or_else(|| unfit("it has no certificate"))?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| unfit("its certificate is no PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unfit("it has no private key"))?;
        Ok(Self { certificate, key, certificate_pem, path })
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsIdentity").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The first certificate in a PEM file.
fn certificate_block(text: &str) -> Option<String> {
    let begin = text.find(BEGIN)?;
    let (block, _) = text[begin..].split_once(END)?;
    Some(format!("{block}{END}\n"))
}

/// Makes the file, complete from its first moment and accessible by its owner only. Keeps a file that appeared
/// meanwhile. Validity has no end that matters: a client that has the certificate trusts it, one without it never does.
fn make(path: &Path, address: Option<IpAddr>, tokens: &Path) -> io::Result<()> {
    let address = address.map(|address| address.to_string()).filter(|address| !NAMES.contains(&address.as_str()));
    let names: Vec<_> = NAMES.into_iter().map(str::to_owned).chain(address).collect();
    let mut parameters = CertificateParams::new(names).map_err(io::Error::other)?;
    parameters.distinguished_name.push(DnType::CommonName, "cardbroker");
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
    let text = Zeroizing::new(certificate.pem() + &Zeroizing::new(key.serialize_pem()));

    private_file::create_folder(private_file::folder_of(path))?;
    match complete_file(tokens, &text)?.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_identity_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("own/tokens");
        let made = TlsIdentity::read_or_make(&tokens, Some([127, 0, 0, 5].into())).unwrap();
        let again = TlsIdentity::read_or_make(&tokens, None).unwrap();
        assert_eq!((&made.certificate, &made.certificate_pem), (&again.certificate, &again.certificate_pem));
        assert_eq!(made.key.secret_der(), again.key.secret_der());
        assert!(made.certificate_pem.starts_with(BEGIN) && made.certificate_pem.ends_with(&format!("{END}\n")));
        for (last, is_named) in [(1, true), (5, true), (6, false)] {
            assert_eq!(made.names([127, 0, 0, last].into()), is_named);
        }
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&made.path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path().join("own")).unwrap().count(), 1, "nothing else is left behind");
        let printed = format!("{made:?}");
        assert!(printed.contains("tls.pem") && printed.len() < 200, "{printed}");
    }

    #[test]
    fn an_unusable_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        let made = TlsIdentity::read_or_make(&tokens, None).unwrap();
        let text = fs::read_to_string(&made.path).unwrap();
        for (text, expected) in [("", "it has no certificate"), (&*made.certificate_pem, "it has no private key")] {
            fs::write(&made.path, text).unwrap();
            let error = TlsIdentity::read_or_make(&tokens, None).unwrap_err().to_string();
            assert!(error.contains("tls.pem") && error.contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&made.path).unwrap(), text);
        }
        fs::write(&made.path, text).unwrap();
        #[cfg(unix)]
        {
            fs::set_permissions(&made.path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
            let error = TlsIdentity::read_or_make(&tokens, None).unwrap_err().to_string();
            assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
        }
    }
}
