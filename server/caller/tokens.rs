//! The tokens that authenticate callers on the TCP port, by their hashes.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use cardbroker_core::caller::TokenId;
use cardbroker_local::private_file::{self, PrivateFileError};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::token_file::{TokenEntry, TokenFileError, TokenHash, readable_entries, token_entries, token_hash};

/// All tokens of a tokens file. An empty list refuses every caller.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<(TokenId, TokenHash)>);

/// Why the tokens could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file is missing, unsafe or unreadable: it stays so until somebody changes that.
    #[error("listen.tokens: {} {source}{}", path.display(), advice(source))]
    File {
        /// The path of the tokens file.
        path: PathBuf,
        /// The problem of the file, and its remedy.
        source: PrivateFileError,
    },
    /// The system has no free descriptors or memory to open or read the file: that may pass.
    #[error("listen.tokens: {} cannot be read now: {source}", path.display())]
    Passing {
        /// The path of the tokens file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file contains an invalid entry.
    #[error("listen.tokens: {}: {source}", path.display())]
    Invalid {
        /// The path of the tokens file.
        path: PathBuf,
        /// The invalid entry, by its line.
        source: TokenFileError,
        /// The tokens of the valid lines.
        readable: Tokens,
    },
}

impl TokensError {
    /// Whether there is no tokens file.
    pub fn is_missing(&self) -> bool {
        let Self::File { source: PrivateFileError::Io(error), .. } = self else { return false };
        error.kind() == std::io::ErrorKind::NotFound
    }
}

fn advice(source: &PrivateFileError) -> &'static str {
    match source {
        PrivateFileError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            ": make the first token with \"cardbroker token new NAME\""
        }
        _ => "",
    }
}

impl Tokens {
    /// Reads the tokens file at `path`, which no other user may read or change.
    ///
    /// # Errors
    /// [`TokensError`] if the file is unreadable, unsafe or invalid.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        Self::read_opened(path, private_file::open(path))
    }

    /// Like [`Tokens::read`], for an explanation of their permissions: root also reads another user's file.
    ///
    /// # Errors
    /// The same as of [`Tokens::read`].
    pub fn read_to_explain(path: &Path) -> Result<Self, TokensError> {
        Self::read_opened(path, private_file::open_as_administrator(path))
    }

    fn read_opened(path: &Path, opened: Result<File, PrivateFileError>) -> Result<Self, TokensError> {
        let failed = |problem| match problem {
            PrivateFileError::Io(source) if may_pass(&source) => TokensError::Passing { path: path.into(), source },
            source => TokensError::File { path: path.into(), source },
        };
        let file = opened.map_err(failed)?;
        let (text, is_whole) = private_file::read_beginning(&file).map_err(|error| failed(error.into()))?;
        Self::parse(path, &text, is_whole)
    }

    /// Parses the text of a tokens file, or its beginning.
    fn parse(path: &Path, text: &[u8], is_whole: bool) -> Result<Self, TokensError> {
        let invalid = |source| {
            // The last line of a beginning may be cut off.
            let end = if is_whole { text.len() } else { text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0) };
            let readable = readable_entries(&text[..end]).collect();
            TokensError::Invalid { path: path.into(), source, readable }
        };
        if !is_whole {
            return Err(invalid(TokenFileError::TooLarge));
        }
        Ok(token_entries(text).map_err(invalid)?.into_iter().collect())
    }

    /// Returns those of these tokens that are also among `others`, by name and hash.
    pub fn retained(&self, others: &Self) -> Self {
        Self(self.0.iter().filter(|token| others.0.contains(token)).cloned().collect())
    }

    /// The names and fingerprints of all tokens.
    pub fn ids(&self) -> impl Iterator<Item = TokenId> {
        self.0.iter().map(|(id, _)| id.clone())
    }

    /// The names of all tokens with their hashes, to compare two files.
    pub fn by_name(&self) -> Vec<(String, TokenHash)> {
        self.0.iter().map(|(id, hash)| (id.name.to_string(), *hash)).collect()
    }

    /// Returns the token with the hash of `offered`, if there is one. Takes the same time with and without a match.
    pub fn find(&self, offered: &[u8]) -> Option<TokenId> {
        let offered = token_hash(offered);
        let (mut found, mut place) = (Choice::from(0), 0_u64);
        for (index, (_, hash)) in (0_u64..).zip(&self.0) {
            let equal = hash.as_bytes().ct_eq(offered.as_bytes());
            place.conditional_assign(&index, equal);
            found |= equal;
        }
        let (id, _) = self.0.get(usize::try_from(place).ok()?)?;
        bool::from(found).then(|| id.clone())
    }
}

/// Whether an error says nothing about the file: the process or the system lacks descriptors or memory, or was
/// interrupted.
#[cfg(unix)]
fn may_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

#[cfg(not(unix))]
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, WouldBlock};
    matches!(error.kind(), OutOfMemory | Interrupted | WouldBlock)
}

impl FromIterator<TokenEntry> for Tokens {
    fn from_iter<T: IntoIterator<Item = TokenEntry>>(entries: T) -> Self {
        let entries = entries.into_iter().map(|TokenEntry { name, hash }| {
            let fingerprint = hash.as_bytes().first_chunk().map_or(0, |beginning| u64::from_be_bytes(*beginning));
            (TokenId { name: name.into(), fingerprint }, hash)
        });
        Self(entries.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_itself_is_accepted() {
        let entry = |name: &str, token: &[u8]| TokenEntry { name: name.into(), hash: token_hash(token) };
        let tokens: Tokens = [entry("a", b"one"), entry("b", b"two"), entry("c", b"three")].into_iter().collect();
        for (token, name) in [(&b"one"[..], Some("a")), (b"two", Some("b")), (b"three", Some("c")), (b"", None)] {
            assert_eq!(tokens.find(token).map(|id| id.name).as_deref(), name);
        }
        assert_eq!(tokens.find(token_hash(b"one").as_bytes()), None, "a hash from the file is not a token");
        assert_eq!(Tokens::default().find(b"one"), None);
    }

    #[test]
    fn a_malformed_file_still_tells_its_readable_tokens() {
        let entry = |name: &str, token: &[u8]| TokenEntry { name: name.into(), hash: token_hash(token) };
        let before: Tokens = ["a", "b", "c"].map(|name| entry(name, name.as_bytes())).into_iter().collect();
        let text = format!("{}\nmalformed\n{}\n{}\n", entry("a", b"a"), entry("b", b"new"), entry("d", b"d"));
        let Err(TokensError::Invalid { readable, .. }) = Tokens::parse(Path::new("t"), text.as_bytes(), true) else {
            panic!()
        };
        let names = |tokens: Tokens| tokens.ids().map(|id| id.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(before.retained(&readable)), ["a"], "b has another hash, c has no line, d is not in force");
    }

    #[test]
    fn a_file_that_is_no_text_or_too_large_still_tells_its_readable_tokens() {
        let line = |name: &str| TokenEntry { name: name.into(), hash: token_hash(b"x") }.to_string();
        let readable = |text: &[u8], is_whole| match Tokens::parse(Path::new("t"), text, is_whole) {
            Err(TokensError::Invalid { readable, source, .. }) => {
                (readable.ids().map(|id| id.name.to_string()).collect::<Vec<_>>().join(" "), source.to_string())
            }
            other => panic!("{other:?}"),
        };
        let (a, b) = (line("a"), line("b"));
        let latin1 = [a.as_bytes(), b"\n\xFC\n", b.as_bytes()].concat();
        assert_eq!(readable(&latin1, true), ("a b".into(), "line 2: is not UTF-8".into()));
        let beginning = format!("{a}\n{b}");
        assert_eq!(readable(beginning.as_bytes(), false), ("a".into(), "longer than 1048576 bytes".into()));
    }

    #[cfg(unix)]
    #[test]
    fn only_a_lack_of_descriptors_or_memory_may_pass() {
        use rustix::io::Errno;
        let opened = |errno: Errno| Tokens::read_opened(Path::new("t"), Err(PrivateFileError::Io(errno.into())));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN] {
            assert!(matches!(opened(errno), Err(TokensError::Passing { .. })), "{errno:?}");
        }
        let lasting = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::PERM, Errno::LOOP, Errno::NAMETOOLONG];
        let of_disks = [Errno::STALE, Errno::IO, Errno::NOTCONN, Errno::HOSTDOWN, Errno::TIMEDOUT, Errno::NODEV];
        for errno in lasting.into_iter().chain(of_disks) {
            assert!(matches!(opened(errno), Err(TokensError::File { .. })), "{errno:?}");
        }
        for problem in [PrivateFileError::NotRegular, PrivateFileError::Foreign, PrivateFileError::Loose { mode: 0 }] {
            assert!(matches!(Tokens::read_opened(Path::new("t"), Err(problem)), Err(TokensError::File { .. })));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_once_opened_is_unusable() {
        let folder = tempfile::tempdir().unwrap();
        let opened = File::open(folder.path()).map_err(PrivateFileError::from);
        assert!(matches!(Tokens::read_opened(folder.path(), opened), Err(TokensError::File { .. })));
    }

    // The system's words for a missing file are Unix's.
    #[cfg(unix)]
    #[test]
    fn a_missing_file_is_an_error_with_a_remedy() {
        let error = Tokens::read(Path::new("/nonexistent/tokens")).unwrap_err().to_string();
        assert!(error.starts_with("listen.tokens: /nonexistent/tokens cannot be read: No such file"), "{error}");
        assert!(error.ends_with(": make the first token with \"cardbroker token new NAME\""), "{error}");
    }
}
