//! Mistakes in a configuration, each with its line and column.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::inherited::{ADDRESS_KEYS, AddressKey};

/// Why the configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing or unreadable.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The path of the configuration file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Other users may change the file, or it is not a regular one.
    #[error("{}: {problem}", path.display())]
    Unsafe {
        /// The path of the configuration file.
        path: PathBuf,
        /// The problem of its kind or access, and the remedy.
        problem: &'static str,
    },
    /// A value of the file does not fit a flag.
    #[error("{key}: {problem}")]
    Flags {
        /// The key of the value.
        key: &'static str,
        /// The problem, and the remedy.
        problem: String,
    },
    /// The file contains a mistake, the first of which is reported.
    #[error("{}:{line}:{column}: {}{message}", path.display(), prefix(key.as_deref()))]
    Invalid {
        /// The path of the configuration file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// The key of the mistake with its sections (`listen.socket`, `reader[0].match`); `None` where the file is not
        /// TOML.
        key: Option<String>,
        /// The mistake, and the allowed values.
        message: String,
    },
}

/// The beginning of a message: the key of the mistake, if known.
fn prefix(key: Option<&str>) -> String {
    key.map(|key| format!("{key}: ")).unwrap_or_default()
}

/// The text of a file, to locate mistakes in it.
pub(super) struct Document<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// A mistake that the parser found: bad TOML, an unknown key, a value that is not allowed.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().unwrap_or_default().start;
        let mut entries = self.entries();
        // The innermost entry is the last match.
        let key = entries.iter().rposition(|(_, span)| span.contains(&at)).map(|index| entries.swap_remove(index).0);
        self.error(at, key, error.message())
    }

    /// A mistake in the value of `key`.
    pub(super) fn error_at(&self, key: &str, message: String) -> ConfigError {
        let at = self.entries().into_iter().find(|(name, _)| name == key).map_or(0, |(_, span)| span.start);
        self.error(at, Some(key.into()), &message)
    }

    /// The first key that says where the broker listens.
    pub(super) fn address(&self) -> Option<AddressKey> {
        let found = self.entries().into_iter().filter_map(|(name, span)| {
            let (key, _) = ADDRESS_KEYS.into_iter().find(|(key, _)| *key == name)?;
            Some((span.start, key))
        });
        found.min().map(|(at, key)| AddressKey { key, place: self.place(at) })
    }

    /// Line and column of a byte, both counted from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    fn error(&self, at: usize, key: Option<String>, message: &str) -> ConfigError {
        // The message may quote the file, so control characters must not reach a terminal.
        let printable = |text: &str| text.replace(char::is_control, " ");
        let (line, column) = self.place(at);
        ConfigError::Invalid {
            path: self.path.into(),
            line,
            column,
            key: key.as_deref().map(printable),
            message: printable(message),
        }
    }

    /// Every key of the file with the range of key and value, outer ones first; none if the file is not TOML.
    fn entries(&self) -> Vec<(String, Range<usize>)> {
        let mut entries = Vec::new();
        if let Ok(table) = DeTable::parse(self.text) {
            collect("", table.get_ref(), &mut entries);
        }
        entries
    }
}

fn collect(prefix: &str, table: &DeTable<'_>, entries: &mut Vec<(String, Range<usize>)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        entries.push((name.clone(), key.span().start..value.span().end));
        match value.get_ref() {
            DeValue::Table(inner) => collect(&format!("{name}."), inner, entries),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    entries.push((format!("{name}[{index}]"), item.span()));
                    if let DeValue::Table(inner) = item.get_ref() {
                        collect(&format!("{name}[{index}]."), inner, entries);
                    }
                }
            }
            _ => {}
        }
    }
}
