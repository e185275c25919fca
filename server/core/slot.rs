//! The card stack's view of one slot and its card, and the errors of calls to it.

use std::fmt;

pub use crate::slot_name::SlotName;
use crate::{error::Delivery, pcsc_words::HERE};

/// A monitor's view of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    /// The reader's name in PC/SC.
    pub name: SlotName,
    /// Whether a card is in the slot.
    pub card_present: bool,
    /// Changes at every insertion and removal, so that a swap between two polls is noticed.
    pub event_count: u32,
    /// The card's answer to reset as known to the stack, possibly an old one; empty without a card.
    pub atr: Vec<u8>,
}

/// The whole card stack is unreachable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The service is not running; the text is the stack's code.
    #[error("the PC/SC service does not answer ({}): {}", .0, HERE.is_it_running)]
    Down(String),
    /// The service answers, but not as it must; the text is the stack's code.
    #[error("PC/SC refuses a call of the broker ({0}): restart the broker, and report the fault if it comes again")]
    Refused(String),
    /// The system's policy denies this process access to the service; the text is the stack's code.
    #[error("PC/SC denies access ({}): {}", .0, HERE.admit)]
    Denied(String),
    /// The service is the broker itself, through the doors of `others`.
    #[error(
        "PC/SC leads back to this broker's own socket for PC/SC programs, through {others} other broker(s): {}",
        HERE.break_ring
    )]
    Ring {
        /// The number of other brokers in the ring.
        others: usize,
    },
}

/// The kind of a card reset. The later one does more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetKind {
    /// Resets through the reset line; the power stays on.
    #[default]
    Warm,
    /// Cuts the power and restores it.
    Cold,
}

impl fmt::Display for ResetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        })
    }
}

/// The facts about a card that was taken or reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInfo {
    /// Answer to reset (ISO 7816-3 §8), 2–33 bytes.
    pub atr: Vec<u8>,
    /// The protocol in use with the card.
    pub protocol: Protocol,
}

/// A transmission protocol between reader and card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Byte oriented (ISO 7816-3 §10).
    T0,
    /// Block oriented (ISO 7816-3 §11).
    T1,
    /// The reader passes bytes through unchanged.
    Raw,
}

/// The protocols that may be negotiated with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolChoice {
    /// Any protocol that card and reader prefer.
    #[default]
    Any,
    /// Only T=0; other cards are not used.
    T0,
    /// Only T=1; other cards are not used.
    T1,
}

impl ProtocolChoice {
    /// The allowed protocols, as text for people.
    pub fn names(self) -> &'static str {
        match self {
            Self::Any => "T=0 or T=1",
            Self::T0 => "T=0",
            Self::T1 => "T=1",
        }
    }
}

/// A command that the gate has admitted for the card, see [`crate::card::gate::Admitted`]. Has no `Debug`: it may
/// contain a PIN.
pub struct CardCommand<'a>(&'a [u8]);

impl<'a> CardCommand<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Creates a command without a gate, for tests of slots.
    #[cfg(any(test, feature = "properties"))]
    pub fn unadmitted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the command APDU (on T=0 a TPDU).
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Why a call to a slot failed. The texts contain the stack's own code, never a byte of an APDU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// There is no card in the slot.
    #[error("no card in the reader")]
    NoCard,
    /// The card was removed since it was taken.
    #[error("the card was removed")]
    CardRemoved,
    /// The card was removed, before the command was sent or while it ran: the stack does not say which.
    #[error("the card was removed, perhaps during the command")]
    RemovedInFlight,
    /// Another program has reset the card since it was taken.
    #[error("the card was reset by another program")]
    CardReset,
    /// Another program holds the card.
    #[error("another program holds the card")]
    Held,
    /// The card does not answer a reset; the text is the stack's code.
    #[error("the card does not answer a reset ({0})")]
    Mute(String),
    /// Card and reader have no allowed protocol in common.
    #[error("the card supports none of the allowed protocols")]
    ProtocolMismatch,
    /// The stack does not accept the handle any more, in most cases because it was restarted.
    #[error("PC/SC does not accept the handle of the card any more")]
    StaleHandle,
    /// The reader was unplugged or disabled.
    #[error("the reader is gone")]
    ReaderGone,
    /// The whole card stack has failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The exchange failed in transport, or the response was malformed.
    #[error("the exchange with the card failed ({0})")]
    Lost(String),
}

impl SlotError {
    /// Whether the card is not in the slot, or is not the taken one any more.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::NoCard | Self::CardRemoved | Self::RemovedInFlight)
    }

    /// The delivery of a command whose exchange failed with this error (PC/SC part 5; pcsc-lite checks these states
    /// before it calls the driver).
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::NoCard
            | Self::CardRemoved
            | Self::CardReset
            | Self::Held
            | Self::ProtocolMismatch
            | Self::StaleHandle => Delivery::NotSent,
            Self::RemovedInFlight | Self::Mute(_) | Self::ReaderGone | Self::Service(_) | Self::Lost(_) => {
                Delivery::Unknown
            }
        }
    }
}
