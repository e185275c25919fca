//! The tokens file, which lists the tokens for the TCP port. It contains only hashes, so a reader of the file cannot
//! authenticate.
//!
//! Each line is `NAME HASH`: the holder's name, and the SHA-256 of the token in hexadecimal. Empty lines and lines that
//! begin with `#` are ignored.

use std::{
    collections::HashSet,
    fmt,
    io::{self, Write},
    path::Path,
};

use cardbroker_local::private_file::{self, MAX_PRIVATE_BYTES};
use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

/// Maximum lines of a tokens file.
pub const MAX_TOKEN_LINES: usize = 1_000;

/// Maximum characters of a token's name.
pub const MAX_TOKEN_NAME_CHARACTERS: usize = 64;

/// One entry of the tokens file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// The name of the token, which policy rules match.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: TokenHash,
}

/// The SHA-256 of a token. `Debug` does not show it: a log is not the place for lines of a tokens file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash, for comparison in constant time.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// A mistake in a tokens file. Never contains a part of the file: the line may be a token itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFileError {
    /// A line that is no valid entry.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, counted from 1.
        line: usize,
        /// The mistake, and the allowed form.
        problem: &'static str,
    },
    /// The file has more than [`MAX_TOKEN_LINES`] lines.
    #[error("more than {MAX_TOKEN_LINES} lines")]
    TooLong,
    /// The file is longer than any tokens file may be.
    #[error("longer than {MAX_PRIVATE_BYTES} bytes")]
    TooLarge,
}

/// Whether a token may have this name: 1–64 lower-case letters, digits and hyphens.
pub fn is_token_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_TOKEN_NAME_CHARACTERS).contains(&name.len()) && name.bytes().all(allowed)
}

/// Random bytes of a new token.
const TOKEN_BYTES: usize = 32;

/// Makes a random token, in hexadecimal. The text wipes itself.
///
/// # Errors
/// The system has no random numbers.
pub fn fresh_token() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    Ok(Zeroizing::new(hex::encode_upper(bytes.as_slice())))
}

/// The hash of a token, for the tokens file. It is not secret and may move by value, unlike a hash of a PIN: a token
/// has 256 random bits, which nobody can guess, and the file contains the hash anyway.
pub fn token_hash(token: &[u8]) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}

/// Parses the entries of a tokens file.
///
/// # Errors
/// [`TokenFileError`] for an invalid line, a repeated name, or too many lines.
pub fn token_entries(text: &[u8]) -> Result<Vec<TokenEntry>, TokenFileError> {
    if lines(text).count() > MAX_TOKEN_LINES {
        return Err(TokenFileError::TooLong);
    }
    let mut names = HashSet::new();
    let mut entries = Vec::new();
    for (index, line) in lines(text).enumerate() {
        let wrong = |problem| TokenFileError::Line { line: index + 1, problem };
        if let Some(entry) = line.and_then(token_entry).map_err(wrong)? {
            if !names.insert(entry.name.clone()) {
                return Err(wrong("another token has this name already: names are allowed once"));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Parses the valid lines of a tokens file and skips the others.
pub fn readable_entries(text: &[u8]) -> impl Iterator<Item = TokenEntry> {
    lines(text).filter_map(|line| line.and_then(token_entry).ok().flatten())
}

/// The lines of a tokens file. A line that is not UTF-8 makes no other one unreadable.
fn lines(text: &[u8]) -> impl Iterator<Item = Result<&str, &'static str>> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| str::from_utf8(line).map_err(|_| "is not UTF-8"))
}

/// Parses a line of a tokens file. Returns `None` for an empty line or a comment.
///
/// # Errors
/// The mistake in the line, and the allowed form.
pub fn token_entry(line: &str) -> Result<Option<TokenEntry>, &'static str> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line.trim_end().split_once(' ').ok_or("must be a name, a space and a SHA-256 in hexadecimal")?;
    if !is_token_name(name) {
        return Err("a token's name has 1 to 64 lower-case letters, digits and hyphens");
    }
    let hash = sha256(hash).ok_or("a SHA-256 has 64 hexadecimal digits")?;
    Ok(Some(TokenEntry { name: name.to_owned(), hash }))
}

fn sha256(text: &str) -> Option<TokenHash> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect();
    (digits.len() == 64).then(|| bytes.try_into().map(TokenHash).ok())?
}

/// Writes the line of the entry, without a line break.
impl fmt::Display for TokenEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.name)?;
        self.hash.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A new file with `text` beside the tokens file and with its owner, not at its place yet: accessible by its owner
/// only, and complete.
///
/// # Errors
/// An error of the operating system.
pub fn complete_file(tokens: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = Builder::new().make_in(private_file::folder_of(tokens), private_file::create_new)?;
    file.write_all(text.as_bytes())?;
    private_file::give_to_owner_of(tokens, file.as_file())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_written_entry_is_parsed_back() {
        let entry = TokenEntry { name: "build-7".into(), hash: token_hash(b"test") };
        assert_eq!(entry.to_string(), format!("build-7 {HASH}"));
        assert_eq!(format!("{entry:?}"), "TokenEntry { name: \"build-7\", hash: [redacted] }");
        let text = format!("# tokens\n\n{entry}\nother {}\r\n", HASH.to_uppercase());
        let read = token_entries(text.as_bytes()).unwrap();
        assert_eq!((&read[0], &*read[1].name, read[1].hash), (&entry, "other", entry.hash));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn errors_name_the_line_without_its_text() {
        let short = &HASH[1..];
        for (line, expected) in [
            ("secret".to_owned(), "line 2: must be a name, a space"),
            (format!("Secret {HASH}"), "line 2: a token's name has"),
            (format!(" secret {HASH}"), "line 2: a token's name has"),
            (format!("{} {HASH}", "a".repeat(65)), "line 2: a token's name has"),
            (format!("secret {short}"), "line 2: a SHA-256 has 64"),
            (format!("secret {HASH}0"), "line 2: a SHA-256 has 64"),
            (format!("secret +{short}"), "line 2: a SHA-256 has 64"),
            (format!("secret  {HASH}"), "line 2: a SHA-256 has 64"),
            (format!("first {HASH}"), "line 2: another token has this name"),
        ] {
            let error = token_entries(format!("first {HASH}\n{line}").as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.to_lowercase().contains("secret"), "{line}: {error}");
        }
        assert_eq!(token_entries(&b"\n".repeat(1_000)), Ok(Vec::new()));
        assert_eq!(token_entries(&b"\n".repeat(1_001)), Err(TokenFileError::TooLong));
        let error = token_entries(b"\n# \xFF\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: is not UTF-8");
    }
}
