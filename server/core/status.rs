//! What watchers see of a reader, and what a request is told that meets it in a state in which it cannot be served.

use crate::{
    error::{Failure, Reason},
    slot::{Protocol, ProtocolChoice},
};

/// The state that watchers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No card.
    Empty,
    /// A card is being taken.
    Settling,
    /// A card can be used.
    Ready,
    /// A card does not answer, or speaks no protocol that is allowed.
    Mute,
    /// Another program has the card.
    HeldElsewhere,
    /// The driver hangs.
    Unresponsive,
    /// PC/SC does not serve the reader.
    Unavailable,
}

impl State {
    /// What a request is told that does not wait for a card; `None` if it may wait for its turn. `unavailable_because` says why
    /// PC/SC does not serve the reader.
    pub fn refusal(self, unavailable_because: &str) -> Option<Failure> {
        let (reason, message) = match self {
            Self::Settling | Self::Ready => return None,
            Self::Empty => (Reason::NoCard, "the reader is empty: insert a card, or ask to wait for one"),
            Self::Mute => (Reason::CardMute, "the card does not answer a reset: take it out and put it in again"),
            Self::HeldElsewhere => {
                (Reason::HeldElsewhere, "another program holds the card: retry, or end that program")
            }
            Self::Unresponsive => (
                Reason::ReaderUnresponsive,
                "the reader's driver does not return from a call: retry, or plug the reader in again",
            ),
            Self::Unavailable => {
                return Some(Failure::not_sent(Reason::PcscUnavailable, unavailable_because.to_owned()));
            }
        };
        Some(Failure::not_sent(reason, message))
    }
}

/// What watchers see of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderStatus {
    /// The state.
    pub state: State,
    /// The card's answer to reset; empty unless one has answered.
    pub atr: Vec<u8>,
    /// The protocol in force, once the card was taken.
    pub protocol: Option<Protocol>,
    /// Names the insertion; empty without a card.
    pub insertion_id: String,
    /// Insertions seen so far.
    pub insertion_count: u64,
}

/// What those are told who waited for their turn, but not for a card, when the card is taken out.
pub fn card_removed() -> Failure {
    let message = "the card was taken out before the turn came: insert one, or ask to wait for one";
    Failure::not_sent(Reason::CardRemoved, message)
}

/// What a request is told about a card that speaks none of the protocols `allowed`.
pub fn protocol_mismatch(allowed: ProtocolChoice) -> Failure {
    let message = format!(
        "the card does not speak {}, and preferred_protocols allows no other protocol for this reader: \
         change the configuration",
        allowed.names()
    );
    Failure::not_sent(Reason::ProtocolMismatch, message)
}

/// What everyone is told about a reader that may only be watched.
pub fn not_owned() -> Failure {
    let message = "the configuration says own = \"never\" for this reader: it can be watched only";
    Failure::not_sent(Reason::ReaderNotOwned, message)
}

/// What the messages of a session are told behind one that has failed, until one of them restarts.
pub fn preceding_failed() -> Failure {
    let message = "a message before this one failed: decide, and go on with a message that says restart";
    Failure::not_sent(Reason::PrecedingFailed, message)
}
