//! The client's side of a token for the broker's TCP port: read from a file, wiped when dropped, never printed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cardbroker_local::private_file::{self, PrivateFileError};
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

/// The metadata key of the token.
pub(crate) const TOKEN_METADATA: &str = "authorization";

/// The beginning of a certificate.
const PEM: &str = "-----BEGIN ";

/// A token for one call. Clones share its bytes, which are wiped with the last one; the transport's own copies are not.
#[derive(Clone)]
pub(crate) struct Token(MetadataValue<Ascii>);

/// The error for a token file that cannot be used. Contains nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token file {} {problem}", path.display())]
pub struct TokenFileError {
    /// The path of the token file.
    pub path: PathBuf,
    /// The problem, and what to do about it.
    pub problem: String,
    /// The operating system's error, if it did not open the file.
    pub kind: Option<io::ErrorKind>,
}

impl Token {
    /// Reads the token in the file at `path`, which no other user may read or change, unless
    /// an orchestrator has mounted it as a secret. What follows the first line, a certificate, is not read.
    pub(crate) fn read(path: impl AsRef<Path>) -> Result<Self, TokenFileError> {
        let path = path.as_ref();
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
        Self::parse(&text).ok_or_else(|| {
            let problem = "holds no token: one line of visible ASCII, as made by \"cardbroker token new\"";
            TokenFileError { path: path.into(), problem: problem.to_owned(), kind: None }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (token, rest) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        let (token, rest) = (token.trim_end(), rest.trim_start());
        if !rest.is_empty() && !rest.starts_with(PEM) {
            return None;
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let shown = Bytes::from_owner(Zeroizing::new([b"Bearer ", token.as_bytes()].concat()));
        let mut metadata = MetadataValue::try_from(shown).ok()?;
        metadata.set_sensitive(true);
        Some(Self(metadata))
    }

    /// The value of the metadata, marked as sensitive.
    pub(crate) fn metadata(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_is_not_printed() {
        let token = Token::parse("secret\n").unwrap();
        assert_eq!(token.metadata().to_str().unwrap(), "Bearer secret");
        for printed in [format!("{token:?}"), format!("{:?}", token.metadata())] {
            assert!(!printed.contains("secret"), "{printed}");
        }
        let pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        let followed = Token::parse(&format!("secret\r\n\n{pem}")).unwrap();
        assert_eq!(followed.metadata().to_str().unwrap(), "Bearer secret");
        for text in [pem, "", "\n", "two words", "two\nlines", "\u{fc}"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
