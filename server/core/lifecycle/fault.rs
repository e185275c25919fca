//! The meaning of a failed call to a slot: for the caller whose command it carried, and for the card.

use super::UnitEnd;
use crate::{
    error::{Failure, Reason},
    slot::{ProtocolChoice, SlotError},
    status::protocol_mismatch,
};

const REMOVED: &str = "the card was taken out: insert one, and check the card's state before you continue";

/// A failed call to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For the caller whose command it carried.
    pub failure: Failure,
    /// How it has left the card.
    pub end: UnitEnd,
}

impl Fault {
    /// No call was made because the card was gone before.
    pub fn removed() -> Self {
        Self { failure: Failure::not_sent(Reason::CardRemoved, REMOVED), end: UnitEnd::Removed }
    }

    /// The meaning for a unit whose commands were to follow the reset that failed. They were not sent.
    pub fn of_reset_before_unit(self) -> Self {
        let failure = match self.failure.reason {
            Reason::CardLost | Reason::CardReset => {
                Failure::not_sent(Reason::ResetFailed, "the reset before the commands failed: retry")
            }
            // The card or the reader is gone, which says more.
            _ => self.failure.into_not_sent(),
        };
        Self { failure, end: self.end }
    }
}

/// Whether a call that failed like this leaves open if the card was removed, so that [`meaning`] needs to be told.
pub fn leaves_removal_open(error: &SlotError) -> bool {
    matches!(error, SlotError::Lost(_) | SlotError::Mute(_))
}

/// The meaning of a failed call, for a reader whose cards may speak the protocols `allowed`. `is_removed` says that
/// the card was seen to leave and counts where the error [leaves that open](leaves_removal_open).
pub fn meaning(error: &SlotError, is_removed: bool, allowed: ProtocolChoice) -> Fault {
    let removed = || (Reason::CardRemoved, REMOVED.into(), UnitEnd::Removed);
    let (reason, message, end) = match error {
        SlotError::NoCard | SlotError::CardRemoved | SlotError::RemovedInFlight => removed(),
        SlotError::Lost(_) | SlotError::Mute(_) if is_removed => removed(),
        SlotError::Lost(_) | SlotError::Mute(_) => (
            Reason::CardLost,
            format!("{error}: the card is reset; check the card's state before you continue"),
            UnitEnd::Lost,
        ),
        SlotError::CardReset | SlotError::Held => (Reason::CardReset, format!("{error}: start again"), UnitEnd::Lost),
        SlotError::ProtocolMismatch => {
            let Failure { reason, message, .. } = protocol_mismatch(allowed, &[]);
            (reason, message.into_owned(), UnitEnd::Lost)
        }
        SlotError::StaleHandle | SlotError::Service(_) => {
            (Reason::PcscUnavailable, error.to_string(), UnitEnd::Unavailable(error.to_string()))
        }
        SlotError::ReaderGone => (Reason::ReaderGone, error.to_string(), UnitEnd::Unavailable(error.to_string())),
    };
    Fault { failure: Failure::new(reason, error.delivery(), message), end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Delivery::{self, NotSent, Unknown},
        slot::ServiceError,
    };

    /// How a fault leaves the card, without texts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum End {
        Removed,
        Lost,
        Unavailable,
    }

    type Expected = (Reason, Delivery, End);

    /// One error of each kind.
    fn errors() -> [SlotError; 11] {
        let text = || "0x1".to_owned();
        [
            SlotError::NoCard,
            SlotError::CardRemoved,
            SlotError::CardReset,
            SlotError::Held,
            SlotError::Mute(text()),
            SlotError::ProtocolMismatch,
            SlotError::StaleHandle,
            SlotError::ReaderGone,
            SlotError::Service(ServiceError::Down(text())),
            SlotError::Lost(text()),
            SlotError::RemovedInFlight,
        ]
    }

    /// The meaning without and with a removal, and the reason of a unit that was to follow a reset. A new kind of error
    /// does not compile without a row.
    fn expected(error: &SlotError) -> (usize, [Expected; 2], Reason) {
        use Reason::*;
        let lost = (CardLost, Unknown, End::Lost);
        let removed = (CardRemoved, Unknown, End::Removed);
        let both = |expected: Expected| [expected; 2];
        match error {
            SlotError::NoCard => (0, both((CardRemoved, NotSent, End::Removed)), CardRemoved),
            SlotError::CardRemoved => (1, both((CardRemoved, NotSent, End::Removed)), CardRemoved),
            SlotError::CardReset => (2, both((CardReset, NotSent, End::Lost)), ResetFailed),
            SlotError::Held => (3, both((CardReset, NotSent, End::Lost)), ResetFailed),
            SlotError::Mute(_) => (4, [lost, removed], ResetFailed),
            SlotError::ProtocolMismatch => (5, both((ProtocolMismatch, NotSent, End::Lost)), ProtocolMismatch),
            SlotError::StaleHandle => (6, both((PcscUnavailable, NotSent, End::Unavailable)), PcscUnavailable),
            SlotError::ReaderGone => (7, both((ReaderGone, Unknown, End::Unavailable)), ReaderGone),
            SlotError::Service(_) => (8, both((PcscUnavailable, Unknown, End::Unavailable)), PcscUnavailable),
            SlotError::Lost(_) => (9, [lost, removed], ResetFailed),
            SlotError::RemovedInFlight => (10, both(removed), CardRemoved),
        }
    }

    fn seen(fault: &Fault) -> Expected {
        let end = match &fault.end {
            UnitEnd::Removed => End::Removed,
            UnitEnd::Lost => End::Lost,
            UnitEnd::Unavailable(_) => End::Unavailable,
            UnitEnd::InOrder(_) => panic!("a failed call leaves no card in order"),
        };
        (fault.failure.reason, fault.failure.delivery, end)
    }

    #[test]
    fn every_error_has_its_meaning_with_and_without_a_removal() {
        for (place, error) in errors().iter().enumerate() {
            let faults = [false, true].map(|is_removed| meaning(error, is_removed, ProtocolChoice::T1));
            let (row, expected, before_unit) = expected(error);
            assert_eq!(row, place, "{error:?}");
            assert_eq!(faults.each_ref().map(seen), expected, "{error:?}");
            assert_eq!(leaves_removal_open(error), faults[0] != faults[1], "{error:?}");
            let [fault, removed] = faults.map(Fault::of_reset_before_unit);
            assert_eq!((fault.failure.reason, fault.failure.delivery), (before_unit, NotSent), "{error:?}");
            assert_eq!(removed.failure.delivery, NotSent, "{error:?}");
        }
    }
}
