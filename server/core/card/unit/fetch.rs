//! How the rest of an answer is fetched after `61xx`: in which class, how often, and when it is lost.
//!
//! | | T=0 | T=1, contactless |
//! | --- | --- | --- |
//! | `61xx` is | part of the transport | an answer of the application |
//! | class | [`Class::fetching_from_transport`] | [`Class::fetching_from_application`] |
//!
//! A card that refuses the first GET RESPONSE with `6E00` or `6D00` gets one more, in the class of the other column, if
//! that is another one and the caller has chosen none. It may have dropped its answer by then: then the answer is lost.
//! What the card says of the broker's own command is never handed out as what it says of the caller's, unless something
//! was fetched before.

use super::UnitCommand;
use crate::{
    apdu::{Class, StatusWord},
    slot::Protocol,
};

/// One GET RESPONSE that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetch {
    class: Class,
    /// The instruction.
    instruction: u8,
    /// The length that the card has named; 0 for 256.
    le: u8,
    /// The class for one further try, as long as there may be one.
    further: Option<Class>,
    /// It is the further try.
    is_further: bool,
    /// The length was corrected.
    is_corrected: bool,
    /// A GET RESPONSE before has brought data.
    has_brought: bool,
}

/// What follows from the answer to a GET RESPONSE.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It belongs to the command's answer, of which more is to be fetched.
    More(Fetch),
    /// It completes the command's answer.
    Done,
    /// It has brought nothing: the same is due with the right length, or in another class.
    Again(Fetch),
    /// The card has refused it, and the command's answer cannot be fetched.
    Lost,
}

/// The classes in which the rest of the answer to a command of `class` is fetched: on T=0, and otherwise.
pub(super) fn classes(class: Class, chosen: Option<Class>) -> [Class; 2] {
    match chosen {
        Some(chosen) => [chosen; 2],
        None => [class.fetching_from_transport(), class.fetching_from_application()],
    }
}

impl Fetch {
    /// The first one, for a command of `class`, after `61 <le>`.
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
            has_brought: false,
        }
    }

    /// What the card gets.
    pub(super) fn bytes(self) -> [u8; 5] {
        [self.class.0, self.instruction, 0, 0, self.le]
    }

    /// The most data bytes that it asks for.
    pub(super) fn expected(self) -> usize {
        super::length(self.le)
    }

    /// What follows from the card's answer: data, if there `are_data`, and a status word.
    pub(super) fn answered(self, are_data: bool, word: StatusWord) -> Fetched {
        let has_brought = self.has_brought || are_data;
        let again = Self { le: super::low_byte(word), further: None, is_further: false, has_brought, ..self };
        if word.more_data().is_some() {
            return Fetched::More(Self { is_corrected: false, ..again });
        }
        if word.right_length().is_some() && !self.is_corrected {
            return Fetched::Again(Self { is_corrected: true, ..again });
        }
        match self.further {
            _ if has_brought => Fetched::Done,
            Some(class) if word.refuses_header() => {
                Fetched::Again(Self { class, further: None, is_further: true, ..self })
            }
            _ if word.refuses_header() || self.is_further && word.is_error() => Fetched::Lost,
            _ => Fetched::Done,
        }
    }
}
