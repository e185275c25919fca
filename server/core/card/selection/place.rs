//! The place of a command on the card, for comparing PINs: the selected file, or a selection that nobody knows.

use super::SelectedFile;
use crate::apdu::ApduBytes;

/// The place where a command is carried out. Equal places have the same PINs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file that is certain.
    File(SelectedFile),
    /// A selection that is not certain. It stays the same until another command may change it.
    Unknown {
        /// The number of commands that may have changed the selection before.
        since: u64,
        /// The known beginning of the application's name, if it is known.
        application: Option<ApduBytes>,
    },
}

impl Place {
    /// The known beginning, or all, of the name of the selected application.
    pub fn application(&self) -> &[u8] {
        match self {
            Self::File(file) => file.application().unwrap_or_default(),
            Self::Unknown { application, .. } => application.as_deref().unwrap_or_default(),
        }
    }
}

/// A name by which an application was selected, and the whole name that the card has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedName {
    /// The name in the SELECT, a beginning of the whole name or longer.
    pub requested: ApduBytes,
    /// The name in the card's answer.
    pub whole: ApduBytes,
}
