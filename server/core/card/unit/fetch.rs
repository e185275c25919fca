//! Fetching the rest of an answer after `61xx`: the class, the number of tries, and the loss of the answer.
//!
//! | | T=0 | T=1, contactless |
//! | --- | --- | --- |
//! | `61xx` is | part of the transport | an answer of the application |
//! | class | [`Class::fetching_from_transport`] | [`Class::fetching_from_application`] |
//!
//! If a card refuses the first GET RESPONSE with `6E00` or `6D00`, the broker sends one more in the class of the other
//! column, provided that the two classes differ and the caller has set none. The card may have dropped its answer by
//! then; in that case the answer is lost. The status word of a refused GET RESPONSE never becomes the status word of
//! the caller's command, unless an earlier one has returned data.

use super::UnitCommand;
use crate::{
    apdu::{Class, StatusWord},
    slot::Protocol,
};

/// The GET RESPONSE that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    class: Class,
    /// GET RESPONSE, or the caller's instruction.
    instruction: u8,
    /// The length from the card's status word; 0 for 256.
    le: u8,
    /// The class for one further try; `None` if no further try is allowed.
    further: Option<Class>,
    /// Whether this is the further try.
    is_further: bool,
    /// Whether the length was corrected.
    is_corrected: bool,
    /// Whether an earlier GET RESPONSE has returned data.
    has_data: bool,
}

/// The consequence of the answer to a GET RESPONSE.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It is a part of the command's answer; the card offers more.
    More(Fetch),
    /// It completes the command's answer.
    Done,
    /// It has no data: the same command is due with the right length, or in another class.
    Again(Fetch),
    /// The card has refused it; the command's answer cannot be fetched.
    Lost,
}

/// The classes that fetch the rest of the answer to a command of `class`: on T=0, and on every other protocol.
pub(super) fn classes(class: Class, chosen: Option<Class>) -> [Class; 2] {
    match chosen {
        Some(chosen) => [chosen; 2],
        None => [class.fetching_from_transport(), class.fetching_from_application()],
    }
}

impl Fetch {
    /// The first GET RESPONSE for a command of `class` that was answered with `61 <le>`.
    pub(super) fn first(command: &UnitCommand, class: Class, protocol: Protocol, le: u8) -> Self {
        let [transport, application] = classes(class, command.continue_class);
        let (class, other) = match protocol {
            Protocol::T0 => (transport, application),
            Protocol::T1 | Protocol::Raw => (application, transport),
        };
        Self {
            class,
            instruction: command.fetching_instruction(),
            le,
            further: Some(other).filter(|other| *other != class),
            is_further: false,
            is_corrected: false,
            has_data: false,
        }
    }

    /// The APDU for the card.
    pub(super) fn bytes(self) -> [u8; 5] {
        [self.class.0, self.instruction, 0, 0, self.le]
    }

    /// The most data bytes of its answer.
    pub(super) fn expected(self) -> usize {
        super::length(self.le)
    }

    /// Decides what follows the card's answer with the status word `word`. `has_data`: the answer has data.
    pub(super) fn answered(self, has_data: bool, word: StatusWord) -> Fetched {
        let has_data = self.has_data || has_data;
        let again = Self { le: super::low_byte(word), further: None, is_further: false, has_data, ..self };
        if word.more_data().is_some() {
            return Fetched::More(Self { is_corrected: false, ..again });
        }
        if word.right_length().is_some() && !self.is_corrected {
            return Fetched::Again(Self { is_corrected: true, ..again });
        }
        match self.further {
            _ if has_data => Fetched::Done,
            Some(class) if word.refuses_header() => {
                Fetched::Again(Self { class, further: None, is_further: true, ..self })
            }
            _ if word.refuses_header() || self.is_further && word.is_error() => Fetched::Lost,
            _ => Fetched::Done,
        }
    }
}
