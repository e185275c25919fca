//! The names by which rules match a reader.

/// The names of a reader in rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderNames {
    /// The id, without the prefix `readers/`.
    pub id: String,
    /// The name that PC/SC gives the reader, as text.
    pub display_name: String,
}
