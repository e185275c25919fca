//! What a card stack says of one slot and its card, and why a call to it can fail.

use crate::error::Delivery;

/// What a monitor sees of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    /// PC/SC's name of the reader.
    pub display_name: String,
    /// Whether a card is in it.
    pub card_present: bool,
    /// Moves at every insertion and removal, so that a swap between two looks is noticed.
    pub event_count: u32,
    /// The card's answer to reset as far as the stack knows it, possibly an old one; empty without a card.
    pub atr: Vec<u8>,
}

/// The card stack as a whole cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The service does not run.
    #[error("the PC/SC service does not answer ({0}): is pcscd running?")]
    Down(String),
    /// The system's policy denies this process the service.
    #[error(
        "PC/SC denies access ({0}): allow this user the actions org.debian.pcsc-lite.access_pcsc and \
         org.debian.pcsc-lite.access_card in a rule below /etc/polkit-1/rules.d"
    )]
    Denied(String),
}

/// How to reset a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetKind {
    /// Reset line only.
    #[default]
    Warm,
    /// Power off and on.
    Cold,
}

/// A card that was taken or reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInfo {
    /// Answer to reset (ISO 7816-3 §8), 2–33 bytes.
    pub atr: Vec<u8>,
    /// The protocol in force.
    pub protocol: Protocol,
}

/// A transmission protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Byte oriented (ISO 7816-3 §10).
    T0,
    /// Block oriented (ISO 7816-3 §11).
    T1,
    /// Passed through by the reader.
    Raw,
}

/// Which protocols may be agreed with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolChoice {
    /// Whatever card and reader prefer.
    #[default]
    Any,
    /// T=0 only.
    T0,
    /// T=1 only.
    T1,
}

impl ProtocolChoice {
    /// The protocols, as people write them.
    pub fn names(self) -> &'static str {
        match self {
            Self::Any => "T=0 or T=1",
            Self::T0 => "T=0",
            Self::T1 => "T=1",
        }
    }
}

/// What a slot sends to its card: a command that the gate has admitted, see [`crate::card::gate::Admitted`]. Has no
/// `Debug`: it may be a PIN.
pub struct CardCommand<'a>(&'a [u8]);

impl<'a> CardCommand<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A command that no gate has seen, for tests of slots.
    #[cfg(any(test, feature = "properties"))]
    pub fn unadmitted(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The command APDU (T=0: TPDU).
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Why a slot could not do what it was asked. Texts name the stack's own code, never a byte of an APDU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// No card in the slot.
    #[error("no card in the reader")]
    NoCard,
    /// The card was taken out since.
    #[error("the card was removed")]
    CardRemoved,
    /// Someone else reset the card since.
    #[error("the card was reset by another program")]
    CardReset,
    /// Another program has the card.
    #[error("another program holds the card")]
    Held,
    /// The card does not answer a reset.
    #[error("the card does not answer a reset ({0})")]
    Mute(String),
    /// Card and reader agree on none of the protocols allowed.
    #[error("the card speaks none of the protocols allowed")]
    ProtocolMismatch,
    /// The stack does not know our handle (any more): it was restarted.
    #[error("the PC/SC service was restarted")]
    StaleHandle,
    /// The reader was unplugged.
    #[error("the reader is gone")]
    ReaderGone,
    /// The stack as a whole failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The exchange failed on its way, or the answer was no answer.
    #[error("the exchange with the card failed ({0})")]
    Lost(String),
}

impl SlotError {
    /// What became of a command whose exchange failed like this (PC/SC part 5; pcsc-lite checks these states before it hands
    /// anything to the driver).
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::NoCard
            | Self::CardRemoved
            | Self::CardReset
            | Self::Held
            | Self::ProtocolMismatch
            | Self::StaleHandle => Delivery::NotSent,
            Self::Mute(_) | Self::ReaderGone | Self::Service(_) | Self::Lost(_) => Delivery::Unknown,
        }
    }
}
