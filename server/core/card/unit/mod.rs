//! A unit as a pure state machine: it returns the next bytes for the card, given the answers so far. It completes
//! answers after `61xx` and `6Cxx`, converts commands for T=0 and applies the stop rules. Raw commands and their
//! answers pass unchanged.
//!
//! ```text
//!            next()                     answered()
//! command ─▶ Sent ──── 6Cxx, plain case 2 ──▶ Corrected ─┐
//!              │ 61xx                            │ 61xx  │
//!              └──────────▶ Fetching ◀───────────┘       │
//!                             │ (61xx again, once 6Cxx,  │
//!                             │  once in another class)  ▼
//!                             ├──────▶ result of the command ──▶ next command, or stop
//!                             └──────▶ lost: stop
//! ```
//!
//! A unit that stops in state `Fetching` keeps the part of the answer that it has received ([`UnitRun::take_partial`]):
//! the command has run.

mod command;
mod fetch;
mod outcome;
mod result;

use std::{borrow::Cow, time::Duration};

pub use command::{OtherChannel, UnitCommand, headers};
use fetch::{Fetch, Fetched};
pub use outcome::{Stop, UnitOutcome, UnitRequest};
pub use result::{CommandResult, StatusWordSource};

use crate::{
    apdu::{ApduBytes, Class, CommandApdu, Header, ParsedCommand, StatusWord},
    error::{Failure, Reason},
    slot::Protocol,
};

/// The space for the answers of one unit, in bytes: the contract's 1 MiB less 16 KiB for the rest of the response.
pub const RESPONSE_ROOM_BYTES: usize = (1 << 20) - (16 << 10);

/// The most GET RESPONSE commands that one command may cause.
pub const MAX_GET_RESPONSES: u32 = 256;

const GET_RESPONSE: u8 = 0xC0;
const MAX_SHORT_DATA_BYTES: usize = 255;
/// The most data bytes of one answer (extended length).
const MAX_DATA_BYTES: usize = 65_536;

/// The next step of a unit.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Send this exchange to the card.
    Exchange(Exchange<'a>),
    /// All commands are answered, or the unit stops with this failure.
    Finished(Option<Failure>),
}

/// One APDU (T=0: TPDU) to be sent to the card.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// The bytes for the card, parsed once: the caller's command itself, or one that the broker has made of it.
    pub(super) sent: Cow<'a, ParsedCommand>,
    /// The command of the unit that the exchange belongs to.
    pub command: &'a UnitCommand,
    /// The number of that command in the unit, counted from 0.
    pub index: usize,
    /// Whether the command was sent before and this exchange completes its answer: GET RESPONSE, or the command with a
    /// corrected Le.
    pub completes: bool,
}

impl Exchange<'_> {
    /// The bytes that the card receives if the exchange is admitted.
    pub fn bytes(&self) -> &[u8] {
        self.sent.bytes()
    }

    /// The header for the policy; `None` if the broker chose the exchange. A GET RESPONSE is the broker's choice unless
    /// the caller has set its class.
    pub fn header_of_choice(&self) -> Option<Header> {
        if !self.completes {
            return Some(self.command.header());
        }
        let header: [u8; 4] = *self.bytes().first_chunk()?;
        let [_, instruction, ..] = header;
        (instruction != GET_RESPONSE || self.command.chooses_fetching()).then_some(Header::Read(header))
    }
}

/// The progress of a unit. Owned by the card thread, which sends the exchanges.
pub struct UnitRun<'a> {
    /// The commands of the unit, from its request. Never change.
    commands: &'a [UnitCommand],
    /// The card's protocol at the beginning of the unit. Never changes.
    protocol: Protocol,
    /// The index of the current command; the number of commands once all are answered.
    index: usize,
    /// The exchange that is due for the current command.
    step: Step,
    /// The current command's answer so far, combined from its exchanges. `None` before the first of them.
    answer: Option<CommandResult>,
    /// The data bytes of all answers so far, of at most [`RESPONSE_ROOM_BYTES`]. Status words do not count.
    used_bytes: usize,
    /// Whether the last answered command is a link of a chain, or its answer offers more.
    is_followed: bool,
    /// Why the unit stops before its end. Set by [`UnitRun::answered`]; `None` while the unit goes on, and after its
    /// last command.
    stop: Option<Failure>,
}

/// The exchange that is due for the command at `index`.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The command from the request, on T=0 fitted to its transport.
    Command,
    /// The command again, after the card has answered `6Cxx`.
    CorrectedCommand {
        /// The length from the card's status word; 0 for 256.
        le: u8,
    },
    /// The GET RESPONSE that gets the next part of the answer.
    Fetch(Fetch),
}

/// The consequence of an answer.
enum FollowUp {
    /// The command's answer is complete.
    Complete,
    /// Another exchange continues the answer.
    Next(Step),
    /// The answer does not count; another exchange replaces it.
    Again(Step),
    /// The answer does not count, and the command's answer cannot be fetched.
    Lost,
}

impl<'a> UnitRun<'a> {
    /// Creates a run of `commands` on a card with `protocol`.
    ///
    /// # Errors
    /// [`Reason::UnsupportedLength`] if a T=0 card cannot receive one of the commands. None is sent.
    pub fn new(commands: &'a [UnitCommand], protocol: Protocol) -> Result<Self, Failure> {
        let fitted = |command: &'a UnitCommand| command.apdu().filter(|_| !command.is_raw());
        for (index, apdu) in commands.iter().enumerate().filter_map(|(index, command)| Some((index, fitted(command)?)))
        {
            let data_bytes = apdu.data().len();
            if protocol == Protocol::T0 && data_bytes > MAX_SHORT_DATA_BYTES {
                let message = format!(
                    "commands[{index}] has {data_bytes} data bytes, a T=0 card takes at most 255 in one command: use \
                     command chaining"
                );
                return Err(Failure::not_sent(Reason::UnsupportedLength, message));
            }
        }
        Ok(Self {
            commands,
            protocol,
            index: 0,
            step: Step::Command,
            answer: None,
            used_bytes: 0,
            is_followed: false,
            stop: None,
        })
    }

    /// Returns the exchange that is due now, or the end of the unit.
    pub fn next(&self) -> Next<'a> {
        let Some(command) = self.commands.get(self.index).filter(|_| self.stop.is_none()) else {
            return Next::Finished(self.stop.clone());
        };
        let (sent, expected) = match (self.step, command.apdu()) {
            (Step::Fetch(fetch), _) => (made(fetch.bytes()), fetch.expected()),
            (Step::CorrectedCommand { le }, Some(apdu)) => {
                let [class, instruction, p1, p2] = apdu.header();
                (made([class, instruction, p1, p2, le]), length(le))
            }
            (Step::Command, Some(apdu)) if self.protocol == Protocol::T0 && !command.is_raw() => {
                let (bytes, expected) = fitted_to_t0(apdu);
                (made(bytes), expected)
            }
            (Step::Command | Step::CorrectedCommand { .. }, apdu) => {
                let expected = apdu.map_or(MAX_DATA_BYTES, |apdu| apdu.expected_length().unwrap_or(0));
                (Cow::Borrowed(command.parsed()), expected)
            }
        };
        if self.used_bytes + expected > RESPONSE_ROOM_BYTES {
            let message = "the answers so far leave no space for the next one: divide the commands among several units";
            return Next::Finished(Some(self.too_large(message)));
        }
        let completes = !matches!(self.step, Step::Command);
        Next::Exchange(Exchange { sent, command, index: self.index, completes })
    }

    /// Records the card's answer to the exchange from [`UnitRun::next`]. `response` ends with a status word;
    /// `card_duration` is the time that card and reader took. Returns the command's result once it is complete.
    pub fn answered(&mut self, response: &[u8], card_duration: Duration) -> Option<CommandResult> {
        let command = self.commands.get(self.index)?;
        let (data, word) = StatusWord::split(response)?;
        self.used_bytes += data.len();

        let source = match self.step {
            Step::Command => StatusWordSource::Command,
            Step::CorrectedCommand { .. } => StatusWordSource::CorrectedCommand,
            Step::Fetch(_) => StatusWordSource::GetResponse,
        };
        let mut answer = CommandResult::of(data, word, source, card_duration);
        let follow_up = self.follow_up(command, !data.is_empty(), word);
        if let Some(before) = self.answer.take() {
            let last = (before.status_word, before.source);
            answer = before.then(answer);
            if matches!(follow_up, FollowUp::Again(_) | FollowUp::Lost) {
                // The status word of a refused GET RESPONSE is not the status word of the command.
                (answer.status_word, answer.source) = last;
            }
        }
        match follow_up {
            FollowUp::Complete => {
                self.complete(command, word);
                return Some(answer);
            }
            FollowUp::Next(step) | FollowUp::Again(step) => {
                self.step = step;
                if matches!(step, Step::Fetch(_)) && answer.get_response_count >= MAX_GET_RESPONSES {
                    let message = "the card offers more data after 256 GET RESPONSE commands for one command";
                    self.stop = Some(Failure::executed(Reason::ResponseTooLarge, message));
                }
            }
            FollowUp::Lost => self.stop = Some(lost(word)),
        }
        self.answer = Some(answer);
        None
    }

    /// Moves on to the next command, unless the stop rule ends the unit after `word`.
    fn complete(&mut self, command: &UnitCommand, word: StatusWord) {
        self.index += 1;
        self.step = Step::Command;
        // DESFire sends every command in class 90: only interindustry classes are sure to chain (ISO 7816-4, 5.4.1).
        let is_link = |class: Class| class.is_interindustry() && class.is_chaining();
        self.is_followed = word.offers_data() || command.apdu().is_some_and(|apdu| is_link(apdu.class()));
        if self.index < self.commands.len() && !command.lets_unit_go_on(word) {
            self.stop = Some(Failure::not_sent(
                Reason::StatusWord,
                format!(
                    "the previous command was answered {word:?}, which stops the unit: to continue after it, set \
                     continue_on or stop_rule of that command"
                ),
            ));
        }
    }

    /// Whether the exchange that is due, or the unit's next command, completes something: an answer to be fetched or a
    /// chain of commands.
    pub fn is_pair_open(&self) -> bool {
        self.is_followed || !matches!(self.step, Step::Command)
    }

    /// Takes the incomplete answer of a command that was stopped between its exchanges: the data so far, and the status
    /// word that offers more. `None` after `6Cxx` to the command itself: the command did not run.
    pub fn take_partial(&mut self) -> Option<CommandResult> {
        self.answer.take().filter(|_| matches!(self.step, Step::Fetch(_)))
    }

    /// Decides what follows the answer to the exchange that was due. `has_data`: the answer has data.
    fn follow_up(&self, command: &UnitCommand, has_data: bool, word: StatusWord) -> FollowUp {
        let Some(apdu) = command.apdu().filter(|_| !command.is_raw()) else { return FollowUp::Complete };
        match self.step {
            Step::Fetch(fetch) => match fetch.answered(has_data, word) {
                Fetched::More(fetch) => FollowUp::Next(Step::Fetch(fetch)),
                Fetched::Again(fetch) => FollowUp::Again(Step::Fetch(fetch)),
                Fetched::Done => FollowUp::Complete,
                Fetched::Lost => FollowUp::Lost,
            },
            Step::Command | Step::CorrectedCommand { .. } if word.more_data().is_some() => {
                FollowUp::Next(Step::Fetch(Fetch::first(command, apdu.class(), self.protocol, low_byte(word))))
            }
            Step::Command if word.right_length().is_some() && is_plain_case_2(apdu) => {
                FollowUp::Again(Step::CorrectedCommand { le: low_byte(word) })
            }
            Step::Command | Step::CorrectedCommand { .. } => FollowUp::Complete,
        }
    }

    /// The failure if the next answer may exceed the space. In a fetch the command has run; after `6Cxx` it has not.
    fn too_large(&self, message: &'static str) -> Failure {
        match self.step {
            Step::Fetch(_) => Failure::executed(Reason::ResponseTooLarge, message),
            Step::Command | Step::CorrectedCommand { .. } => Failure::not_sent(Reason::ResponseTooLarge, message),
        }
    }
}

/// A command that the broker has made.
fn made(bytes: impl Into<ApduBytes>) -> Cow<'static, ParsedCommand> {
    Cow::Owned(ParsedCommand::parse(bytes))
}

/// Converts a command for T=0, and returns the most data bytes of its answer. T=0 has no command without P3, no case 4
/// and no extended length (ISO 7816-3 §12.2); the card offers the rest of the answer with `61xx`.
fn fitted_to_t0(apdu: &CommandApdu) -> (ApduBytes, usize) {
    let ([class, instruction, p1, p2], data) = (apdu.header(), apdu.data());
    if data.is_empty() {
        let expected = apdu.expected_length().unwrap_or(0);
        // P3 is 00 for lengths from 256, and for case 1.
        let le = if expected < 256 { expected as u8 } else { 0 };
        ([class, instruction, p1, p2, le].into(), expected.min(256))
    } else {
        // At most 255 data bytes, as checked at the start.
        (ApduBytes::concat([&[class, instruction, p1, p2, data.len() as u8], data]), 0)
    }
}

/// Whether the command may be sent again after `6Cxx`: it has no data, no secure messaging and is not part of a chain,
/// so nothing but Le differs.
fn is_plain_case_2(apdu: &CommandApdu) -> bool {
    let class = apdu.class();
    apdu.data().is_empty() && apdu.expected_length().is_some() && !class.has_secure_messaging() && !class.is_chaining()
}

fn low_byte(word: StatusWord) -> u8 {
    (word.0 & 0xFF) as u8
}

fn length(le: u8) -> usize {
    if le == 0 { 256 } else { usize::from(le) }
}

fn lost(word: StatusWord) -> Failure {
    Failure::executed(
        Reason::ResponseLost,
        format!(
            "the command ran and the card answers GET RESPONSE with {word:?}, so the rest of its answer is lost: \
             check the card's state before you repeat it with continue_class or continue_instruction"
        ),
    )
}

#[cfg(test)]
mod tests;
