//! The options of commands, shared by units and sessions, and their answers on the screen.

use cardbroker_client::{ApduBytes, Command, CommandResult, ResultKind, hex};
use clap::{Args, ValueEnum};

use crate::{apdu::exchange, layout::Paint, script::Pattern};

#[derive(Clone, Args)]
#[command(next_help_heading = "APDUs")]
pub(crate) struct CommandArguments {
    /// Send the bytes exactly as given, even if they are not an APDU, and print every answer as the card gave it: no
    /// GET RESPONSE, no correction of Le.
    #[arg(long)]
    pub(crate) raw: bool,
    /// The class of the GET RESPONSE that fetches the rest of an answer after 61xx, in hexadecimal. [default: the class
    /// that the card's protocol requires]
    #[arg(long, value_name = "CLA", value_parser = byte)]
    continue_class: Option<u8>,
    /// The instruction that fetches the rest of an answer after 61xx instead of C0, in hexadecimal (A5 for some cards).
    #[arg(long, value_name = "INS", value_parser = byte, default_value = "00", hide_default_value = true)]
    continue_instruction: u8,
    /// Send a PIN even if the card has reported that one try is left, where the broker guards the last try.
    #[arg(long)]
    allow_last_try: bool,
    /// Send a PIN even if this card has already refused it. Needs the permission guard_override.
    #[arg(long)]
    allow_known_wrong: bool,
    /// Fail with exit code 9 at the first command that is answered with another status word; such as 9000 or 6100/FF00
    /// (the mask has the bits to compare). May be repeated. `=9000` after a command holds for that command instead.
    #[arg(long, value_name = "VALUE[/MASK]", help_heading = "Answers")]
    expect: Vec<Pattern>,
    /// How commands and answers are shown. [default: words on a terminal, otherwise hex]
    #[arg(long, value_name = "FORM", help_heading = "Answers")]
    show: Option<Show>,
}

/// The forms of commands and answers on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// The command with its name, the status word with its meaning, the data as a tree or a dump.
    Words,
    /// One line for each command: the data and the status word.
    Hex,
}

/// How answers are shown on this screen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    show: Show,
    paint: Paint,
}

impl Style {
    /// A sent command, before its answer; empty if only answers are shown.
    pub(crate) fn command(self, apdu: &[u8]) -> String {
        match self.show {
            Show::Words => exchange::command(apdu, self.paint),
            Show::Hex => String::new(),
        }
    }

    /// An answer in lines, each with a new line.
    pub(crate) fn answer(self, result: &CommandResult) -> String {
        let has_status_word = matches!(result.kind, ResultKind::Apdu | ResultKind::PinPad);
        match self.show {
            Show::Words if has_status_word => exchange::answer(&result.data, result.status_word, self.paint),
            Show::Words => exchange::bare_answer(&result.data),
            Show::Hex if !has_status_word => format!("{}\n", hex::format(&result.data)),
            Show::Hex if result.data.is_empty() => format!("{:04X}\n", result.status_word),
            Show::Hex => format!("{} {:04X}\n", hex::format(&result.data), result.status_word),
        }
    }
}

impl CommandArguments {
    /// The form in which this screen shows commands and answers.
    pub(crate) fn style(&self, terminal: bool) -> Style {
        let show = self.show.unwrap_or(if terminal { Show::Words } else { Show::Hex });
        Style { show, paint: Paint::on(terminal) }
    }

    /// The status words that a command must be answered with: its own, or those of all commands.
    pub(crate) fn expected(&self, own: Option<Pattern>) -> Vec<Pattern> {
        own.map_or_else(|| self.expect.clone(), |own| vec![own])
    }

    /// Makes a command with these options from an APDU.
    pub(crate) fn command(&self, apdu: ApduBytes) -> Command {
        let mut command = Command::new(apdu).continue_instruction(self.continue_instruction);
        if let Some(class) = self.continue_class {
            command = command.continue_class(class);
        }
        if self.raw {
            command = command.raw();
        }
        if self.allow_last_try {
            command = command.allow_last_try();
        }
        if self.allow_known_wrong {
            command = command.allow_known_wrong();
        }
        command
    }
}

fn byte(text: &str) -> Result<u8, std::num::ParseIntError> {
    u8::from_str_radix(text, 16)
}
