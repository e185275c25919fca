//! The meaning of a refused reconnection for the handle that was kept from the card before.
//!
//! pcsc-lite lets a handle outlive its card: `SCardReconnect` moves it to the next card. Nothing promises that on other
//! systems. Windows' documentation does not say whether such a handle still works, and allows no reconnection with
//! another protocol than the current one. So a handle is kept where it works, and replaced where it is refused.

use cardbroker_core::slot::{ProtocolChoice, SlotError};

/// The meaning of a refusal for the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The card or another program is the cause: the handle may work later.
    OfCard,
    /// PC/SC finds no card for it. If there is one in the reader, the handle is bound to the card before.
    WithoutCard,
    /// The handle never works again.
    OfHandle,
}

impl Refusal {
    /// Returns the meaning of `error`, with which PC/SC has refused to reset a card and to use one of `protocols`.
    pub(super) fn of(error: &SlotError, protocols: ProtocolChoice) -> Self {
        match error {
            SlotError::NoCard | SlotError::CardRemoved | SlotError::RemovedInFlight => Self::WithoutCard,
            // A choice of one protocol is that of the handle, too, so the card does not support it.
            SlotError::ProtocolMismatch if protocols != ProtocolChoice::Any => Self::OfCard,
            SlotError::ProtocolMismatch
            | SlotError::StaleHandle
            | SlotError::ReaderGone
            | SlotError::Service(_)
            | SlotError::Lost(_) => Self::OfHandle,
            SlotError::CardReset | SlotError::Held | SlotError::Mute(_) => Self::OfCard,
        }
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::slot::ServiceError;

    use super::*;

    #[test]
    fn a_handle_is_replaced_only_if_neither_card_nor_rival_is_the_cause() {
        let text = || "0x1".to_owned();
        for (error, expected) in [
            (SlotError::NoCard, Refusal::WithoutCard),
            (SlotError::CardRemoved, Refusal::WithoutCard),
            (SlotError::RemovedInFlight, Refusal::WithoutCard),
            (SlotError::Held, Refusal::OfCard),
            (SlotError::CardReset, Refusal::OfCard),
            (SlotError::Mute(text()), Refusal::OfCard),
            (SlotError::StaleHandle, Refusal::OfHandle),
            (SlotError::ReaderGone, Refusal::OfHandle),
            (SlotError::Service(ServiceError::Down(text())), Refusal::OfHandle),
            (SlotError::Lost(text()), Refusal::OfHandle),
        ] {
            for protocols in [ProtocolChoice::Any, ProtocolChoice::T0, ProtocolChoice::T1] {
                assert_eq!(Refusal::of(&error, protocols), expected, "{error:?} {protocols:?}");
            }
        }
    }

    #[test]
    fn a_protocol_that_no_handle_could_use_is_the_cards_fault() {
        let refused = |protocols| Refusal::of(&SlotError::ProtocolMismatch, protocols);
        assert_eq!(refused(ProtocolChoice::Any), Refusal::OfHandle);
        assert_eq!([ProtocolChoice::T0, ProtocolChoice::T1].map(refused), [Refusal::OfCard; 2]);
    }
}
