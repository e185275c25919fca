//! The view of the card, derived from commands and answers: security state, selection and open command chains. Pure.

use super::selection::{ConfirmedName, Place, SelectedFile, Selection};
use crate::apdu::{Class, CommandApdu, ParsedCommand, StatusWord, presents_pin, stays_in_reader};

/// Instructions that raise no security state in class 00 (ISO 7816-4 §11). The card may still change: a selected
/// application or a challenge stays.
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

/// Class and instruction of GET DATA to a contactless reader, for the card's UID (PC/SC part 3). Neutral too.
const READER_GET_DATA: [u8; 2] = [0xFF, 0xCA];

/// The bit of a class that marks every link of a chain but the last (ISO 7816-4 §5.3.3).
const CHAINING: u8 = 0x10;

/// The state of the card as far as its commands and answers show it.
#[derive(Debug, Default)]
pub struct CardView {
    raised: bool,
    /// Whether the card may still hold an offered answer that the next command could fetch.
    unfetched: bool,
    /// Whether the last command was for the reader alone, so that the card keeps what it has.
    stays_in_reader: bool,
    selection: Selection,
    chain: Chain,
}

/// The open command chain, which has begun and not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Chain {
    /// No command chain is open.
    #[default]
    None,
    /// A chain of commands with this class, without the chaining bit, and this instruction.
    Of([u8; 2]),
    /// A command that cannot be parsed may have begun a chain.
    Unreadable,
}

impl CardView {
    /// Whether the card may hold security state or an unfetched answer, which the next caller must not find.
    pub fn is_raised(&self) -> bool {
        self.raised || self.unfetched
    }

    /// The known beginning, or all, of the name (DF name, AID) of the application that is selected for commands of
    /// `class`. `None` if it is unknown, or if no application is selected by name.
    pub fn application(&self, class: Class) -> Option<&[u8]> {
        self.selection.place(class)?.application()
    }

    /// The file that is selected for commands of `class`; `None` if it is unknown.
    pub fn place(&self, class: Class) -> Option<&SelectedFile> {
        self.selection.place(class)
    }

    /// Where a PIN in a command of `class` is compared; `None` for a class whose channel is unknown. `is_global`: for a
    /// reference that is the same in all files of an application.
    pub fn place_of_pins(&self, class: Class, is_global: bool) -> Option<Place> {
        self.selection.place_of_pins(class, is_global)
    }

    /// The number of commands and resets so far that may have changed the selection.
    pub fn selection_changes(&self) -> u64 {
        self.selection.changes()
    }

    /// Takes the name that the last answer has confirmed, if there is one.
    pub fn take_confirmed_name(&mut self) -> Option<ConfirmedName> {
        self.selection.take_confirmed_name()
    }

    /// Whether `apdu`, if it is sent now, is a complete command in plain text: not part of a chain, no secure
    /// messaging.
    pub fn is_plain(&self, apdu: &CommandApdu) -> bool {
        let class = apdu.class();
        let may_continue = match self.chain {
            Chain::None => false,
            Chain::Of(link) => link == [class.0, apdu.header()[1]],
            Chain::Unreadable => true,
        };
        !class.has_secure_messaging() && !class.is_chaining() && !may_continue
    }

    /// Whether a command chain may have begun and not ended.
    pub fn has_open_chain(&self) -> bool {
        self.chain != Chain::None
    }

    /// Records that a command is about to be sent. Its possible effects count from now on, even without an answer.
    pub fn sends(&mut self, command: &ParsedCommand) {
        self.stays_in_reader = false;
        let apdu = match command {
            ParsedCommand::Apdu(apdu) => apdu,
            ParsedCommand::Unreadable(bytes) => {
                self.raised = true;
                self.selection.sends_unreadable(bytes.get(1).copied().is_some_and(presents_pin));
                self.chain = Chain::Unreadable;
                return;
            }
        };
        self.stays_in_reader = stays_in_reader(apdu.header());
        self.raised |= !is_neutral(apdu.header());
        self.selection.sends(apdu, self.is_plain(apdu));
        let [class, instruction, ..] = apdu.header();
        self.chain = if apdu.class().is_chaining() { Chain::Of([class & !CHAINING, instruction]) } else { Chain::None };
    }

    /// Records a response of the card.
    pub fn answered(&mut self, response: &[u8]) {
        let word = StatusWord::split(response).map(|(_, word)| word);
        // A card may keep an offered answer after it refuses the next command, or has not received it.
        let may_keep = |word: StatusWord| self.unfetched && (word.is_error() || self.stays_in_reader);
        self.unfetched = word.is_some_and(|word| word.offers_data() || may_keep(word));
        if word != Some(StatusWord(0x9000)) {
            self.chain = Chain::None;
        }
        self.selection.answered(response);
    }

    /// Records that the card was reset.
    pub fn reset(&mut self) {
        let mut selection = std::mem::take(&mut self.selection);
        selection.reset();
        *self = Self { selection, ..Self::default() };
    }
}

/// Whether a command raises no security state. A command on another channel than the basic one may: its channel stays
/// open.
fn is_neutral([class, instruction, ..]: [u8; 4]) -> bool {
    [class, instruction] == READER_GET_DATA
        || Class(class) == Class(0x00) && NEUTRAL_INSTRUCTIONS.contains(&instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised_by(command: &[u8], word: u16) -> bool {
        let mut view = CardView::default();
        view.sends(&ParsedCommand::parse(command));
        view.answered(&word.to_be_bytes());
        view.is_raised()
    }

    #[test]
    fn only_neutral_instructions_leave_the_card_unraised() {
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
    fn an_offered_answer_raises_the_card_until_it_is_fetched() {
        assert!(raised_by(&[0x00, 0xA4, 4, 0], 0x6113));
        assert!(raised_by(&[0x00, 0xA4, 4, 0], 0x9F13));
        let mut view = CardView::default();
        view.answered(&[0x61, 0x13]);
        view.answered(&[0x90, 0x00]);
        assert!(!view.is_raised(), "it was fetched");
    }

    #[test]
    fn an_offered_answer_survives_a_failed_fetch() {
        for (word, is_kept) in [
            (0x6D00, true),
            (0x6E00, true),
            (0x6C03, true),
            (0x6700, true),
            (0x6985, true),
            (0x6A86, true),
            (0x6F00, true),
            (0x9000, false),
            (0x6282, false),
        ] {
            let mut view = CardView::default();
            view.answered(&[0x61, 0x13]);
            view.answered(&u16::to_be_bytes(word));
            assert_eq!(view.is_raised(), is_kept, "{word:04X}");
        }
    }

    #[test]
    fn a_command_to_the_reader_leaves_an_offered_answer_in_the_card() {
        for (command, is_kept) in [(b"\xFF\xCA\x00\x00\x00", true), (b"\x00\xB0\x00\x00\x00", false)] {
            let mut view = CardView::default();
            view.answered(&[0x61, 0x13]);
            view.sends(&ParsedCommand::parse(command.to_vec()));
            view.answered(&[0x90, 0x00]);
            assert_eq!(view.is_raised(), is_kept, "{command:02X?}");
        }
    }

    #[test]
    fn an_unreadable_command_raises_the_card_and_hides_the_selection() {
        let select = b"\x00\xA4\x04\x00\x02\xA0\x01";
        for (unreadable, word, is_known, is_open) in [
            (&b"\x00"[..], 0x9000_u16, false, true),
            (b"\x00\xA4\x04\x00\x03\xA0", 0x9000, false, true),
            (b"\x00\xB0\x00\x00\x00\x00", 0x6700, false, false),
            (b"\xFF\xCA\x00\x00\x00\x00", 0x9000, false, true),
            (b"\x00\x20\x00\x80\x03\x39", 0x6700, false, false),
            (b"\x00\x20\x00\x80\x03\x39", 0x63C2, true, false),
            (b"\x00\xB0\x00\x80\x03\x39", 0x63C2, false, false),
        ] {
            let mut view = CardView::default();
            view.sends(&ParsedCommand::parse(select));
            view.answered(&[0x90, 0x00]);
            assert!(!view.is_raised() && view.place(Class(0)).is_some());
            view.sends(&ParsedCommand::parse(unreadable));
            assert!(view.is_raised() && view.place(Class(0)).is_none(), "{unreadable:02X?} while it runs");
            view.answered(&word.to_be_bytes());
            let plain = CommandApdu::parse(b"\x00\x20\x00\x80\x01\x31").unwrap();
            let found =
                (view.is_raised(), view.place(Class(0)).is_some(), view.has_open_chain(), view.is_plain(&plain));
            assert_eq!(found, (true, is_known, is_open, !is_open), "{unreadable:02X?} {word:04X}");
        }
    }

    #[test]
    fn debug_shows_no_bytes_of_commands_and_responses() {
        let mut view = CardView::default();
        let commands: [&[u8]; 3] =
            [b"\x00\xA4\x04\x00\x02\xE1\xE2", b"\x00\xA4\x01\x00\x02\xE3\xE4", b"\x00\xA4\x04\x0C\x02\xE5\xE6"];
        for (command, answer) in commands.into_iter().zip([&[0x90, 0x00][..], &[0x90, 0x00], &[0xE7, 0xE8, 0x61, 0x10]])
        {
            view.sends(&ParsedCommand::parse(command));
            assert_no_bytes(&view);
            view.answered(answer);
            assert_no_bytes(&view);
        }
    }

    fn assert_no_bytes(view: &CardView) {
        let selected = view.application(Class(0)).map(crate::policy::Application::Known);
        let shown = format!("{view:?} {selected:?}");
        let secret = (0xE1..=0xE8_u8).find(|byte| shown.contains(&byte.to_string()));
        assert_eq!(secret, None, "{shown}");
    }

    #[test]
    fn a_reset_clears_the_raised_state() {
        let mut view = CardView::default();
        view.sends(&ParsedCommand::parse([0x00, 0x20, 0x00, 0x80]));
        view.sends(&ParsedCommand::parse([0x00, 0xB0, 0x00, 0x00]));
        assert!(view.is_raised());
        view.reset();
        assert!(!view.is_raised());
    }
}
