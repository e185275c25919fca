//! The header of a command, as policy rules see it.

/// The part of a command that policy rules match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The bytes CLA, INS, P1 and P2.
    Read([u8; 4]),
    /// The bytes are no APDU, so they may be any command.
    Unreadable,
}
