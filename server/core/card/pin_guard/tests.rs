//! The refusals of the PIN guard and the events that make it forget, command by command and with random histories.

mod counters;
mod forms;
mod properties;
mod spellings;
mod two_values;
mod unreadable;
mod unready;

use super::{memory::MAX_REMEMBERED, reading::HARMLESS, *};
use crate::error::{Delivery, Reason};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

struct Reader {
    guard: PinGuard,
    view: CardView,
}

impl Reader {
    fn new(known_wrong: bool, last_try: bool) -> Self {
        let guard = PinGuard::new(Guarded { known_wrong, last_try }, HashKey::new(&[1; 64]));
        Self { guard, view: CardView::default() }
    }

    fn usual() -> Self {
        Self::new(true, false)
    }

    fn refusal(&mut self, command: &str, last_try: bool) -> Option<Reason> {
        let allowed = Allowed { last_try, known_wrong: false };
        let refused = self.guard.admit(&ParsedCommand::parse(bytes(command)), allowed, &self.view).err()?;
        assert_eq!(refused.delivery, Delivery::NotSent);
        Some(refused.reason)
    }

    fn refuses(&mut self, command: &str) -> bool {
        self.refusal(command, false) == Some(Reason::PinKnownWrong)
    }

    /// Sends a command, which must pass; the card answers `answer`.
    fn sends(&mut self, command: &str, answer: &str) -> &mut Self {
        self.sends_with(Allowed { last_try: true, known_wrong: false }, command, answer)
    }

    /// Sends a command that is known wrong by permission.
    fn repeats(&mut self, command: &str, answer: &str) -> &mut Self {
        self.sends_with(Allowed { last_try: true, known_wrong: true }, command, answer)
    }

    fn sends_with(&mut self, allowed: Allowed, command: &str, answer: &str) -> &mut Self {
        let parsed = ParsedCommand::parse(bytes(command));
        let Ok(passed) = self.guard.admit(&parsed, allowed, &self.view) else { panic!("{command} is refused") };
        self.guard.sends(passed);
        self.view.sends(&parsed);
        self.view.answered(&bytes(answer));
        if let Some(name) = self.view.take_confirmed_name() {
            self.guard.confirmed(name);
        }
        self.guard.answered(&bytes(answer));
        self
    }

    fn reset(&mut self) {
        self.view.reset();
        self.guard.reset();
    }
}

const WRONG: &str = "00200080 02 3939";
const OTHER: &str = "00200080 02 3838";
const SELECT: &str = "00A40400 03 A00001";

#[test]
fn a_rejected_value_is_refused_the_second_time() {
    for command in [
        WRONG,
        "00210080 04 7C023939",
        "00240080 04 39393838",
        "00250080 04 39393838",
        "00260080 02 3939",
        "00280080 02 3939",
        "002C0080 04 39393838",
        "002D0080 04 39393838",
        "41200080 02 3939",
    ] {
        for answer in ["63C2", "63C1", "6300"] {
            let mut reader = Reader::usual();
            reader.sends("41A40400 02 A001", "9000").sends(command, answer);
            assert!(reader.refuses(command), "{command} {answer}");
            let mut unguarded = Reader::new(false, false);
            unguarded.sends("41A40400 02 A001", "9000").sends(command, answer);
            assert!(!unguarded.refuses(command), "{command} {answer}");
        }
        for answer in ["63C0", "6983", "6982", "6A80", "9000", ""] {
            let mut reader = Reader::usual();
            reader.sends("41A40400 02 A001", "9000").sends(command, answer);
            assert!(!reader.refuses(command), "{command} {answer}");
        }
    }
}

#[test]
fn only_the_same_value_of_the_same_pin_is_refused() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2");
    for another in [OTHER, "00200081 02 3939", "00240081 02 3939", "002C0080 02 3939", "00200080 03 393900", "00200080"]
    {
        assert!(!reader.refuses(another), "{another}");
    }
    assert!(reader.refuses("00200080 02 3939 00") && reader.refuses("00200080 00 0002 3939"), "another form");
}

#[test]
fn a_pin_belongs_to_the_selected_file_on_every_channel() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends(SELECT, "9000");
    assert!(!reader.refuses(WRONG));
    reader.sends(WRONG, "63C1").sends("01A40400 03 A00001", "9000");
    assert!(reader.refuses(WRONG) && reader.refuses("01200080 02 3939"));
    reader.sends("00A40100 02 5015", "9000");
    assert!(!reader.refuses(WRONG) && reader.refuses("01200080 02 3939"));
    reader.reset();
    assert!(reader.refuses(WRONG), "the default file is selected again");
    reader.sends("00A40400 02 B000", "6F00");
    assert!(!reader.refuses(WRONG), "the selection is uncertain");
}

#[test]
fn values_that_cannot_be_compared_pass() {
    let mut reader = Reader::usual();
    for command in ["0C200080 02 3939", "80200080 02 3939", "FF200080 02 3939", "A0200080 02 3939"] {
        reader.sends(command, "63C2").sends(command, "63C1");
    }
}

#[test]
fn a_correct_pin_forgets_its_own_values_only() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2").sends("00200081 02 3939", "63C2").sends("002C0080 02 3939", "63C9");
    reader.sends(OTHER, "9000");
    assert!(!reader.refuses(WRONG) && reader.refuses("00200081 02 3939") && reader.refuses("002C0080 02 3939"));
    reader.sends(WRONG, "63C2").sends("00200080", "9000").sends("0020FF80", "9000");
    assert!(reader.refuses(WRONG), "no PIN was given");
}

#[test]
fn a_command_that_may_change_a_pin_forgets_all_values() {
    for change in [
        "00240080 04 38383939",
        "0C2C0080 04 38383939",
        "00DA0000 02 3939",
        "80240080 02 3939",
        "80D80000 01 39",
        "00F20000 03 030303",
        "00F70000 01 00",
        "00FE0000 01 00",
        "FF000000 01 00",
        "FFC20001 01 00",
        "FF240000 02 3939",
    ] {
        for answer in ["9000", "6105", "6500", "9FAA"] {
            let mut reader = Reader::usual();
            reader.sends(WRONG, "63C2").sends(SELECT, "9000").sends(WRONG, "63C1").sends(change, answer);
            assert!(!reader.refuses(WRONG), "{change} {answer}");
            reader.reset();
            assert!(!reader.refuses(WRONG), "{change} {answer}");
        }
        let mut reader = Reader::usual();
        reader.sends(WRONG, "63C2").sends(change, "6982");
        reader.reset();
        assert!(reader.refuses(WRONG), "{change} was refused");
    }
}

#[test]
fn harmless_commands_between_tries_forget_nothing() {
    let mut reader = Reader::usual();
    reader.sends(WRONG, "63C2");
    for harmless in HARMLESS.iter().filter(|instruction| **instruction != 0xA4) {
        for class in ["00", "80"] {
            reader.sends(&format!("{class}{harmless:02X}0000 01 39"), "9000");
            assert!(reader.refuses(WRONG), "{class} {harmless:02X}");
        }
    }
    for (command, answer) in [
        ("80F28000 02 4F00", "9000"),
        ("00F1000000", "050402 9000"),
        ("00F7008000", "0101FF 9000"),
        ("00FD000000", "6103"),
        ("8012000004", "00000001 9000"),
        ("A012000004", "9F04"),
        ("00D70000 01 39", "9000"),
        ("00DD0000 01 39", "9000"),
        ("FF00400F 04 01010101", "9000"),
        ("FF00520000", "9000"),
        ("FF820000 06 FFFFFFFFFFFF", "9000"),
        ("FFD60004 04 01020304", "9000"),
    ] {
        reader.sends(command, answer);
        assert!(reader.refuses(WRONG), "{command} {answer}");
        reader.sends(SELECT, "9000").sends("00A4000C", "9000");
        reader.reset();
        assert!(reader.refuses(WRONG), "{command} {answer}");
    }
}

#[test]
fn commands_with_data_or_without_answer_are_no_queries() {
    for (command, answer) in [
        ("00FB0000", "9000"),
        ("00FA0303", "9000"),
        ("00440000", "9000"),
        ("80F10000 01 39", "050402 9000"),
        ("00F30000", "9000"),
        ("84F1000000", "6500"),
    ] {
        let mut reader = Reader::usual();
        reader.sends(WRONG, "63C2").sends(command, answer);
        assert!(!reader.refuses(WRONG), "{command} {answer}");
    }
    let mut reader = Reader::usual();
    reader.sends("10F10000 01 39", "9000").sends(WRONG, "63C2");
    reader.sends("10F10000 01 39", "9000");
    assert!(!reader.refuses(WRONG), "a link of a chain");
    reader.sends("0CF1000000", "050402 9000").sends(WRONG, "63C2");
    assert!(reader.refuses(WRONG));
    reader.sends("0CF1000000", "050402 9000");
    assert!(!reader.refuses(WRONG), "a protected command may be any command");
}

#[test]
fn the_last_try_needs_permission_in_the_request() {
    let mut reader = Reader::new(false, true);
    reader.sends(WRONG, "63C2");
    assert_eq!(reader.refusal(WRONG, false), None);
    reader.sends(WRONG, "63C1");
    for presenting in [OTHER, "00240080 04 38383939", "00260080 02 3939"] {
        assert_eq!(reader.refusal(presenting, false), Some(Reason::PinLastTry), "{presenting}");
        assert_eq!(reader.refusal(presenting, true), None, "{presenting}");
    }
    for unrelated in ["00200080", "002C0080 02 3939", "00200081 02 3939"] {
        assert_eq!(reader.refusal(unrelated, false), None, "{unrelated}");
    }
    reader.sends("80100000", "9000");
    assert_eq!(reader.refusal(OTHER, false), Some(Reason::PinLastTry), "the counter is unchanged");
    for end in [
        ("00200080 02 3838", "9000"),
        ("002C0080 04 38383939", "9000"),
        ("00200080", "63C3"),
        ("00200080", "63C0"),
        ("00200080", "6983"),
    ] {
        let mut reader = Reader::new(false, true);
        reader.sends("00200080", "63C1");
        assert_eq!(reader.refusal(OTHER, false), Some(Reason::PinLastTry), "a queried counter counts too");
        reader.sends(end.0, end.1);
        assert_eq!(reader.refusal(OTHER, false), None, "{end:?}");
    }
}

#[test]
fn without_permission_the_last_try_reveals_no_rejected_values() {
    let mut reader = Reader::new(true, true);
    reader.sends(WRONG, "63C1");
    assert_eq!(
        (reader.refusal(WRONG, false), reader.refusal(OTHER, false)),
        (Some(Reason::PinLastTry), Some(Reason::PinLastTry))
    );
    assert_eq!((reader.refusal(WRONG, true), reader.refusal(OTHER, true)), (Some(Reason::PinKnownWrong), None));
}

#[test]
fn the_oldest_value_is_forgotten_beyond_the_limit() {
    let mut reader = Reader::usual();
    let value = |number: usize| format!("00200080 02 {number:04X}");
    for number in 0..=MAX_REMEMBERED {
        reader.sends(&value(number), "63C2");
    }
    assert!(!reader.refuses(&value(0)) && (1..=MAX_REMEMBERED).all(|number| reader.refuses(&value(number))));
    for reference in 0..=MAX_REMEMBERED {
        reader.sends(&format!("002000{reference:02X} 01 39"), "63C2");
    }
    assert_eq!(
        (reader.guard.memory.rejected.len(), reader.guard.memory.tries_left.len()),
        (MAX_REMEMBERED, MAX_REMEMBERED)
    );
}

#[test]
fn a_new_card_starts_without_rejected_values() {
    let mut reader = Reader::new(true, true);
    reader.sends(WRONG, "63C1");
    reader.guard.forget();
    assert_eq!((reader.refusal(WRONG, false), reader.refusal(OTHER, false)), (None, None));
}
