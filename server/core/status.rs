//! The status of a reader, and the refusals of requests that its state causes.

use crate::{
    atr::offered_protocols,
    error::{Failure, Reason},
    slot::{Protocol, ProtocolChoice},
};

/// The state of a reader, as watchers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No card is in the reader.
    Empty,
    /// The broker is taking a card.
    Settling,
    /// The card can be used.
    Ready,
    /// The card does not answer, or supports no allowed protocol.
    Mute,
    /// Another program holds the card.
    HeldElsewhere,
    /// A call into the driver does not return.
    Unresponsive,
    /// PC/SC does not serve the reader.
    Unavailable,
}

impl State {
    /// The refusal of a request that does not wait for a card; `None` if the request may wait for its turn.
    /// `unavailable_because` is the cause when PC/SC does not serve the reader.
    pub fn refusal(self, unavailable_because: &str) -> Option<Failure> {
        let (reason, message) = match self {
            Self::Settling | Self::Ready => return None,
            Self::Empty => (Reason::NoCard, "the reader is empty: insert a card, or send a request that waits for one"),
            Self::Mute => (Reason::CardMute, "the card does not answer a reset: remove it and insert it again"),
            Self::HeldElsewhere => {
                (Reason::HeldElsewhere, "another program holds the card: retry, or end that program")
            }
            Self::Unresponsive => (
                Reason::ReaderUnresponsive,
                "a call into the reader's driver does not return: retry, or unplug the reader and plug it in again",
            ),
            Self::Unavailable => {
                return Some(Failure::not_sent(Reason::PcscUnavailable, unavailable_because.to_owned()));
            }
        };
        Some(Failure::not_sent(reason, message))
    }
}

/// The status of a reader, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderStatus {
    /// The state of reader and card.
    pub state: State,
    /// The card's answer to reset; empty without an answer.
    pub atr: Vec<u8>,
    /// The protocol in use; `None` before the card was taken.
    pub protocol: Option<Protocol>,
    /// The id of the insertion; empty without a card.
    pub insertion_id: String,
    /// The number of insertions in this run of the broker.
    pub insertion_count: u64,
}

/// The refusal of requests that waited for their turn, but not for a card, when the card was removed.
pub fn card_removed() -> Failure {
    let message = "the card was removed before the turn came: insert one, or send a request that waits for one";
    Failure::not_sent(Reason::CardRemoved, message)
}

/// The refusal of requests for a card without any of the `allowed` protocols. `atr` is its answer to reset; empty if
/// that is unknown.
pub fn protocol_mismatch(allowed: ProtocolChoice, atr: &[u8]) -> Failure {
    let allowed = allowed.names();
    let spoken = match offered_protocols(atr) {
        Some(offered) => format!("the card speaks {offered} and not {allowed}"),
        None => format!("the card does not speak {allowed}"),
    };
    let message =
        format!("{spoken}, and preferred_protocols allows no other protocol for this reader: change the configuration");
    Failure::not_sent(Reason::ProtocolMismatch, message)
}

/// The refusal of all requests for a reader that may only be watched.
pub fn not_owned() -> Failure {
    let message = "the configuration has own = \"never\" for this reader: change it, or only watch the reader";
    Failure::not_sent(Reason::ReaderNotOwned, message)
}

/// The refusal of a session's messages after a failed one, until a message restarts.
pub fn preceding_failed() -> Failure {
    let message = "an earlier message failed: check its failure, then send a message with restart to continue";
    Failure::not_sent(Reason::PrecedingFailed, message)
}
