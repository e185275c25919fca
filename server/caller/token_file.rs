//! The tokens file, by which the broker admits callers on its TCP port. It holds hashes only, so a reader of the file cannot use them.
//!
//! Each line is `NAME HASH`: who holds the token, and the SHA-256 of the token in hexadecimal. Empty lines and those that begin
//! with `#` mean nothing.

use std::{collections::HashSet, fmt, path::PathBuf};

use sha2::{Digest, Sha256};

/// The most lines of a tokens file.
pub const MAX_TOKEN_LINES: usize = 1_000;

/// The most characters of a token's name.
pub const MAX_TOKEN_NAME_CHARACTERS: usize = 64;

/// One token, as the broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// Who holds it.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
}

/// What is wrong with a tokens file. Never holds a part of it: somebody may have put the token itself there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFileError {
    /// A line that is no entry.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        problem: &'static str,
    },
    /// More lines than allowed.
    #[error("more than {MAX_TOKEN_LINES} lines")]
    TooLong,
}

/// Whether a token may have this name: 1–64 lower-case letters, digits and hyphens.
pub fn is_token_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_TOKEN_NAME_CHARACTERS).contains(&name.len()) && name.bytes().all(allowed)
}

/// The hash of a token, for the tokens file. It is no secret and may move by value, unlike a hash of a PIN: a token is
/// 256 random bits, which nobody finds by trying, and the file holds the hash anyway.
pub fn token_hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The entries of a tokens file.
///
/// # Errors
/// [`TokenFileError`], also if a name stands twice.
pub fn token_entries(text: &str) -> Result<Vec<TokenEntry>, TokenFileError> {
    if text.lines().count() > MAX_TOKEN_LINES {
        return Err(TokenFileError::TooLong);
    }
    let mut names = HashSet::new();
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem| TokenFileError::Line { line: index + 1, problem };
        if let Some(entry) = token_entry(line).map_err(wrong)? {
            if !names.insert(entry.name.clone()) {
                return Err(wrong("another token has this name already: names are allowed once"));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The entry in a line of a tokens file, if there is one.
///
/// # Errors
/// What is wrong with the line.
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

fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// The line of the entry, without its end.
impl fmt::Display for TokenEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.name)?;
        self.hash.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The tokens file when nobody says otherwise.
///
/// * `/etc/cardbroker/tokens` for root;
/// * else `$XDG_CONFIG_HOME/cardbroker/tokens` if that variable holds an absolute path;
/// * else `~/.config/cardbroker/tokens`.
pub fn default_tokens() -> PathBuf {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    tokens_below(folder("XDG_CONFIG_HOME"), folder("HOME"), is_root())
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

fn tokens_below(config: Option<PathBuf>, home: Option<PathBuf>, root: bool) -> PathBuf {
    let own = config.or_else(|| Some(home?.join(".config"))).filter(|_| !root);
    own.unwrap_or_else(|| "/etc".into()).join("cardbroker/tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = TokenEntry { name: "build-7".into(), hash: token_hash(b"test") };
        assert_eq!(entry.to_string(), format!("build-7 {HASH}"));
        let text = format!("# tokens\n\n{entry}\nother {}\r\n", HASH.to_uppercase());
        let read = token_entries(&text).unwrap();
        assert_eq!((&read[0], &*read[1].name, read[1].hash), (&entry, "other", entry.hash));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn what_is_no_entry_is_told_with_its_line_and_not_repeated() {
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
            let error = token_entries(&format!("first {HASH}\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.to_lowercase().contains("secret"), "{line}: {error}");
        }
        assert_eq!(token_entries(&"\n".repeat(1_000)), Ok(Vec::new()));
        assert_eq!(token_entries(&"\n".repeat(1_001)), Err(TokenFileError::TooLong));
    }

    #[test]
    fn root_has_the_systems_file_and_everyone_else_his_own() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(tokens_below(path("/x"), path("/h"), false), PathBuf::from("/x/cardbroker/tokens"));
        assert_eq!(tokens_below(None, path("/h"), false), PathBuf::from("/h/.config/cardbroker/tokens"));
        for (config, home, root) in [(path("/x"), path("/h"), true), (None, None, false)] {
            assert_eq!(tokens_below(config, home, root), PathBuf::from("/etc/cardbroker/tokens"));
        }
    }
}
