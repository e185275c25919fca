//! The terms of a handle: its share mode, its place, and the state in which it leaves the card.

use std::sync::Arc;

use crate::slot::ResetKind;

/// The share mode of one handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareMode {
    /// No other handle may use the card.
    Exclusive,
    /// Handles take turns at the card.
    Shared,
    /// The reader, with or without a card.
    Direct,
}

impl ShareMode {
    /// The share mode of this number in PC/SC.
    pub fn new(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Exclusive),
            2 => Some(Self::Shared),
            3 => Some(Self::Direct),
            _ => None,
        }
    }
}

/// The effect of an exclusive handle on handles of other processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExclusiveRule {
    /// They may connect, and wait for their turn.
    #[default]
    Virtual,
    /// They are refused, as pcscd does.
    Strict,
}

/// The state in which a PC/SC program wants to leave the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcscDisposition(pub Option<ResetKind>);

impl PcscDisposition {
    /// The disposition of this number in PC/SC. A reader that cannot eject cuts the power instead.
    pub fn new(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self(None)),
            1 => Some(Self(Some(ResetKind::Warm))),
            2 | 3 => Some(Self(Some(ResetKind::Cold))),
            _ => None,
        }
    }
}

/// The limits on the number of handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandleLimits {
    /// Maximum handles of all users together.
    pub total: u64,
    /// Maximum handles of one user.
    pub per_user: u64,
}

/// The owner of a handle, and what it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected<U> {
    /// The user, whose handles are counted together.
    pub user: U,
    /// The number of the program's process.
    pub process: u64,
    /// The context that the handle belongs to.
    pub context: u32,
    /// The broker's name of the reader, `readers/{id}`.
    pub reader: Arc<str>,
    /// The effect of exclusive handles at this reader, the same for all its handles.
    pub rule: ExclusiveRule,
    /// The share mode, which a reconnect may change.
    pub share: ShareMode,
    /// The bit of the protocol in use; 0 without one.
    pub protocol: u32,
    /// The id of the insertion; empty without a card.
    pub insertion: String,
}
