//! The header of a command, as policy rules see it.

/// The part of a command that policy rules match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The bytes CLA, INS, P1 and P2.
    Read([u8; 4]),
    /// The bytes are no APDU, so they may be any command.
    Unreadable,
}

impl Header {
    /// Whether it is that of a SELECT by DF name.
    pub fn selects_by_name(self) -> bool {
        matches!(self, Self::Read([_, 0xA4, 0x04, _]))
    }
}
