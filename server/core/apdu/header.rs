//! The header of a command, as rules see it.

/// What rules read of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// CLA, INS, P1 and P2.
    Read([u8; 4]),
    /// The bytes are no APDU: it may be any command.
    Unreadable,
}
