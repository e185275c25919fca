//! What the card thread knows of the card, from the commands it has sent and their answers: security state and what is selected. Pure.

use super::selection::{Place, Selection};
use crate::apdu::{Class, CommandApdu, StatusWord};

/// Instructions that raise no security state (ISO 7816-4 §11), even ones in an interindustry class. Neutral does not mean unchanged: the
/// application that they select, or the challenge that they ask for, stays behind.
const NEUTRAL_INSTRUCTIONS: [u8; 9] = [
    0x84, // GET CHALLENGE
    0xA0, // SEARCH BINARY
    0xA2, // SEARCH RECORD
    0xA4, // SELECT
    0xB0, // READ BINARY
    0xB2, // READ RECORD
    0xC0, // GET RESPONSE
    0xCA, // GET DATA
    0xCC, // GET NEXT DATA
];

/// The command to a contactless reader that asks for the card's number (PC/SC part 3, GET DATA), neutral too.
const READER_GET_DATA: [u8; 2] = [0xFF, 0xCA];

/// The bit of a class that announces further links of a chain (ISO 7816-4 §5.3.3).
const CHAINING: u8 = 0x10;

/// The card as far as it can be told from outside.
#[derive(Debug, Default)]
pub(super) struct CardView {
    raised: bool,
    /// The last answer offers more data, which the next command could fetch.
    unfetched: bool,
    selection: Selection,
    /// Class, without the chaining bit, and instruction of a chain that has begun and not ended.
    chain: Option<[u8; 2]>,
}

impl CardView {
    /// Whether something may be left in the card that the next caller must not find.
    pub(super) fn is_raised(&self) -> bool {
        self.raised || self.unfetched
    }

    /// What is certain of the name (DF name, AID) of the application that commands of `class` reach: its beginning, or all of it.
    /// `None` if nothing is, or if no application is selected by name.
    pub(super) fn application(&self, class: Class) -> Option<&[u8]> {
        self.selection.place(class)?.application()
    }

    /// What is selected for commands of `class`, if that is known.
    pub(super) fn place(&self, class: Class) -> Option<&Place> {
        self.selection.place(class)
    }

    /// Whether a command that is sent now is whole and readable: no link of a chain, the last one included, and not protected.
    pub(super) fn is_plain(&self, apdu: &CommandApdu) -> bool {
        let class = apdu.class();
        !class.has_secure_messaging() && !class.is_chaining() && self.chain != Some([class.0, apdu.header()[1]])
    }

    /// A command is about to be sent: what it may raise counts from now on, whatever becomes of it.
    pub(super) fn sends(&mut self, command: &[u8]) {
        self.raised |= !is_neutral(command);
        let Ok(apdu) = CommandApdu::parse(command) else {
            // Not to be read: anything may be selected by it.
            self.selection.forget();
            return;
        };
        self.selection.sends(&apdu, self.is_plain(&apdu));
        let [class, instruction, ..] = apdu.header();
        self.chain = apdu.class().is_chaining().then_some([class & !CHAINING, instruction]);
    }

    /// A response has come.
    pub(super) fn answered(&mut self, response: &[u8]) {
        let word = response.last_chunk().map(|word| u16::from_be_bytes(*word));
        self.unfetched = word.is_some_and(|word| StatusWord(word).offers_data());
        self.chain = self.chain.filter(|_| word == Some(0x9000));
        self.selection.answered(response);
    }

    /// The card was reset.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether a command raises no security state. Logical channels other than the basic one count as raised: they stay open.
fn is_neutral(command: &[u8]) -> bool {
    match *command {
        [class, instruction, ..] if [class, instruction] == READER_GET_DATA => true,
        [class, instruction, ..] => Class(class) == Class(0x00) && NEUTRAL_INSTRUCTIONS.contains(&instruction),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised_by(command: &[u8], word: u16) -> bool {
        let mut view = CardView::default();
        view.sends(command);
        view.answered(&word.to_be_bytes());
        view.is_raised()
    }

    #[test]
    fn reading_leaves_nothing_behind_and_everything_else_may() {
        for instruction in NEUTRAL_INSTRUCTIONS {
            assert!(!raised_by(&[0x00, instruction, 0, 0], 0x9000), "{instruction:02X}");
            for class in [0x01, 0x04, 0x0C, 0x10, 0x40, 0x80, 0x90, 0xFF] {
                assert!(raised_by(&[class, instruction, 0, 0], 0x9000) != ([class, instruction] == READER_GET_DATA));
            }
        }
        for instruction in [0x20, 0x22, 0x2A, 0x70, 0x82, 0x86, 0x87, 0xA5, 0xD6, 0xB1, 0xCB] {
            assert!(raised_by(&[0x00, instruction, 0, 0], 0x6982), "{instruction:02X}");
        }
    }

    #[test]
    fn an_answer_that_waits_to_be_fetched_is_not_for_the_next_caller() {
        assert!(raised_by(&[0x00, 0xA4, 4, 0], 0x6113));
        assert!(raised_by(&[0x00, 0xA4, 4, 0], 0x9F13));
        let mut view = CardView::default();
        view.answered(&[0x61, 0x13]);
        view.answered(&[0x90, 0x00]);
        assert!(!view.is_raised(), "it was fetched");
    }

    #[test]
    fn a_reset_leaves_nothing_behind() {
        let mut view = CardView::default();
        view.sends(&[0x00, 0x20, 0x00, 0x80]);
        view.sends(&[0x00, 0xB0, 0x00, 0x00]);
        assert!(view.is_raised());
        view.reset();
        assert!(!view.is_raised());
    }
}
