//! The client's side of a token file: the token for the broker's TCP port, wiped when dropped and never printed, and
//! the broker's certificate.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cardbroker_local::{
    endpoint_file::only_certificate,
    private_file::{self, PrivateFileError},
};
use http::HeaderValue;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

/// The metadata key of the token.
pub(crate) const TOKEN_METADATA: &str = "authorization";

/// The content of a token file: the token in its first line, then the broker's certificate in PEM.
#[derive(Debug)]
pub(crate) struct TokenFile {
    pub(crate) token: Token,
    /// The broker's certificate; `None` in a file for plain TCP.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// A token for one call. Clones share its bytes, which are wiped with the last one; the transport's own copies are not.
#[derive(Clone)]
pub(crate) struct Token {
    metadata: MetadataValue<Ascii>,
    /// The same, for the HTTP request below gRPC.
    header: HeaderValue,
}

/// The error for a token file that cannot be used. Contains nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token file {} {problem}", path.display())]
pub struct TokenFileError {
    /// The path of the token file.
    pub path: PathBuf,
    /// The problem, and what to do about it.
    pub problem: String,
    /// An error of the operating system, if it did not open the file.
    pub kind: Option<io::ErrorKind>,
}

impl TokenFile {
    /// Reads the file at `path`, which no other user may read or change, unless an orchestrator has mounted it as a
    /// secret.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenFileError> {
        let text = match private_file::read_or_mounted(path) {
            Ok(text) => text,
            Err(error) => {
                let kind = match &error {
                    PrivateFileError::Io(error) => Some(error.kind()),
                    _ => None,
                };
                return Err(TokenFileError { path: path.into(), problem: error.to_string(), kind });
            }
        };
        Self::parse(&text).map_err(|problem| TokenFileError::of(path, problem))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (token, rest) = text.trim().split_once('\n').unwrap_or((text, ""));
        let token = Token::parse(token)
            .ok_or("holds no token: one line of visible ASCII, as made by \"cardbroker token new\"")?;
        let certificate = match rest.trim() {
            "" => None,
            pem => Some(
                only_certificate(pem)
                    .ok_or("has more than a token and a certificate in PEM, as made by \"cardbroker token new\"")?,
            ),
        };
        Ok(Self { token, certificate })
    }
}

impl TokenFileError {
    pub(crate) fn of(path: &Path, problem: &str) -> Self {
        Self { path: path.into(), problem: problem.to_owned(), kind: None }
    }
}

impl Token {
    /// Takes a token, without the white space around it: one word of visible ASCII.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let shown = Bytes::from_owner(Zeroizing::new([b"Bearer ", token.as_bytes()].concat()));
        let mut metadata = MetadataValue::try_from(shown.clone()).ok()?;
        metadata.set_sensitive(true);
        let mut header = HeaderValue::from_maybe_shared(shown).ok()?;
        header.set_sensitive(true);
        Some(Self { metadata, header })
    }

    /// The value of the metadata, marked as sensitive.
    pub(crate) fn metadata(&self) -> MetadataValue<Ascii> {
        self.metadata.clone()
    }

    /// The value of the header, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_token_is_one_word_and_is_not_printed() {
        let token = Token::parse("secret\n").unwrap();
        assert_eq!(token.metadata().to_str().unwrap(), "Bearer secret");
        assert_eq!(token.header().to_str().unwrap(), "Bearer secret");
        for printed in [format!("{token:?}"), format!("{:?}", token.metadata()), format!("{:?}", token.header())] {
            assert!(!printed.contains("secret"), "{printed}");
        }
        for text in ["", "\n", "two words", "\u{fc}"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_file_is_a_token_and_at_most_one_certificate() {
        let table = include_str!("../../proto/conformance/token_files.json");
        let rows: Vec<serde_json::Value> = serde_json::from_str(table).unwrap();
        assert!(rows.len() > 20);
        for row in rows {
            let read = TokenFile::parse(row["text"].as_str().unwrap()).ok().map(|file| {
                let certificate = file.certificate.map(|certificate| STANDARD.encode(certificate));
                (file.token.metadata().to_str().unwrap().to_owned(), certificate)
            });
            let text = |key| row[key].as_str().map(str::to_owned);
            let expected = text("token").map(|token| (format!("Bearer {token}"), text("certificate")));
            assert_eq!(read, expected, "{}", row["name"]);
        }
    }
}
