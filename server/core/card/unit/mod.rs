//! A unit as a pure machine: which bytes go to the card next, given the answers so far. It completes `61xx` and `6Cxx`,
//! fits commands to T=0 and applies the stop rules. Raw commands and their answers pass as they are.
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
//! A unit that stops while it is fetching keeps what has come of the command's answer ([`UnitRun::take_partial`]): the
//! command has run.

mod command;
mod fetch;
mod outcome;
mod result;

use std::time::Duration;

pub use command::{OtherChannel, UnitCommand, headers};
use fetch::{Fetch, Fetched};
pub use outcome::{Stop, UnitOutcome, UnitRequest};
pub use result::{CommandResult, StatusWordSource};

use crate::{
    apdu::{ApduBytes, CommandApdu, Header, ParsedCommand, StatusWord},
    error::{Failure, Reason},
    slot::Protocol,
};

/// Room for the answers of one unit, in bytes: the contract's 1 MiB less what the rest of a response takes.
pub const RESPONSE_ROOM_BYTES: usize = (1 << 20) - (16 << 10);

/// The most GET RESPONSEs for one command.
pub const MAX_GET_RESPONSES: u32 = 256;

const GET_RESPONSE: u8 = 0xC0;
const MAX_SHORT_DATA_BYTES: usize = 255;
/// The most data bytes of an answer.
const MAX_DATA_BYTES: usize = 65_536;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Send this to the card.
    Exchange(Exchange<'a>),
    /// All commands were answered, or the unit must stop here.
    Finished(Option<Failure>),
}

/// One APDU (T=0: TPDU) on its way to the card.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// What the card gets, parsed once.
    pub(super) sent: ParsedCommand,
    /// The command that it belongs to.
    pub command: &'a UnitCommand,
    /// It completes an answer to the command, which was sent before: a GET RESPONSE, or the command with another Le.
    pub completes: bool,
}

impl Exchange<'_> {
    /// What the card gets, if the exchange is admitted.
    pub fn bytes(&self) -> &[u8] {
        self.sent.bytes()
    }

    /// What the policy reads of it, if it is the caller's choice: a GET RESPONSE that completes a command is the
    /// broker's, unless the caller has chosen its class.
    pub fn header_of_choice(&self) -> Option<Header> {
        if !self.completes {
            return Some(self.command.header());
        }
        let header: [u8; 4] = *self.bytes().first_chunk()?;
        let [_, instruction, ..] = header;
        (instruction != GET_RESPONSE || self.command.chooses_fetching()).then_some(Header::Read(header))
    }
}

/// A unit on its way.
pub struct UnitRun<'a> {
    commands: &'a [UnitCommand],
    protocol: Protocol,
    index: usize,
    step: Step,
    answer: Option<CommandResult>,
    used_bytes: usize,
    stop: Option<Failure>,
}

/// The exchange that is due for the command at `index`.
#[derive(Debug, Clone, Copy)]
enum Step {
    Command,
    CorrectedCommand { le: u8 },
    Fetch(Fetch),
}

/// What an answer is followed by.
enum FollowUp {
    /// The command's answer is complete.
    Complete,
    /// Another exchange adds to the answer.
    Next(Step),
    /// The answer does not count: another exchange in its place.
    Again(Step),
    /// The answer does not count, and the command's cannot be had.
    Lost,
}

impl<'a> UnitRun<'a> {
    /// A run of `commands` on a card that speaks `protocol`.
    ///
    /// # Errors
    /// [`Reason::UnsupportedLength`] if one of the commands cannot be sent to a T=0 card, before the first one is sent.
    pub fn new(commands: &'a [UnitCommand], protocol: Protocol) -> Result<Self, Failure> {
        let fitted = |command: &'a UnitCommand| command.apdu().filter(|_| !command.is_raw());
        for (index, apdu) in commands.iter().enumerate().filter_map(|(index, command)| Some((index, fitted(command)?)))
        {
            let data_bytes = apdu.data().len();
            if protocol == Protocol::T0 && data_bytes > MAX_SHORT_DATA_BYTES {
                let message = format!(
                    "commands[{index}] has {data_bytes} data bytes, a T=0 card takes at most 255 at once: use command \
                     chaining"
                );
                return Err(Failure::not_sent(Reason::UnsupportedLength, message));
            }
        }
        Ok(Self { commands, protocol, index: 0, step: Step::Command, answer: None, used_bytes: 0, stop: None })
    }

    /// The exchange that is due now.
    pub fn next(&self) -> Next<'a> {
        let Some(command) = self.commands.get(self.index).filter(|_| self.stop.is_none()) else {
            return Next::Finished(self.stop.clone());
        };
        let (sent, expected) = match (self.step, command.apdu()) {
            (Step::Fetch(fetch), _) => (ParsedCommand::parse(fetch.bytes()), fetch.expected()),
            (Step::CorrectedCommand { le }, Some(apdu)) => {
                let [class, instruction, p1, p2] = apdu.header();
                (ParsedCommand::parse([class, instruction, p1, p2, le]), length(le))
            }
            (Step::Command, Some(apdu)) if self.protocol == Protocol::T0 && !command.is_raw() => {
                let (bytes, expected) = fitted_to_t0(apdu);
                (ParsedCommand::parse(bytes), expected)
            }
            (Step::Command | Step::CorrectedCommand { .. }, apdu) => {
                let expected = apdu.map_or(MAX_DATA_BYTES, |apdu| apdu.expected_length().unwrap_or(0));
                (command.parsed().clone(), expected)
            }
        };
        if self.used_bytes + expected > RESPONSE_ROOM_BYTES {
            let message = "the answers so far leave no room for the next one: ask for less in one unit";
            return Next::Finished(Some(self.too_large(message)));
        }
        let completes = !matches!(self.step, Step::Command);
        Next::Exchange(Exchange { sent, command, completes })
    }

    /// Takes the card's answer to the exchange that [`UnitRun::next`] named; `response` ends with a status word, and
    /// card and reader took `card_duration` for it. Returns the command's result once it is complete.
    pub fn answered(&mut self, response: &[u8], card_duration: Duration) -> Option<CommandResult> {
        let command = self.commands.get(self.index)?;
        let (data, &[high, low]) = response.split_last_chunk()?;
        let word = StatusWord(u16::from_be_bytes([high, low]));
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
                // What the card says of GET RESPONSE is not its answer to the command.
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
                    let message = "the card offers more after 256 GET RESPONSEs for one command";
                    self.stop = Some(Failure::executed(Reason::ResponseTooLarge, message));
                }
            }
            FollowUp::Lost => self.stop = Some(lost(word)),
        }
        self.answer = Some(answer);
        None
    }

    /// The command is answered: the next one is due, unless the unit stops here.
    fn complete(&mut self, command: &UnitCommand, word: StatusWord) {
        self.index += 1;
        self.step = Step::Command;
        if self.index < self.commands.len() && !command.lets_unit_go_on(word) {
            self.stop = Some(Failure::not_sent(
                Reason::StatusWord,
                format!(
                    "the command before was answered {word:?}, which does not let the unit go on: if it should, set \
                     continue_on or stop_rule for that command"
                ),
            ));
        }
    }

    /// What the command under way has answered so far, if it was stopped between its exchanges; the data that have
    /// come, and the status word that offers more. `6Cxx` to the command is no answer: nothing ran.
    pub fn take_partial(&mut self) -> Option<CommandResult> {
        self.answer.take().filter(|_| matches!(self.step, Step::Fetch(_)))
    }

    /// What an answer to the exchange that was due is followed by; `are_data` if it has data.
    fn follow_up(&self, command: &UnitCommand, are_data: bool, word: StatusWord) -> FollowUp {
        let Some(apdu) = command.apdu().filter(|_| !command.is_raw()) else { return FollowUp::Complete };
        match self.step {
            Step::Fetch(fetch) => match fetch.answered(are_data, word) {
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

    /// There is no room for the answer to the exchange that is due. `6Cxx` says that the command did not run.
    fn too_large(&self, message: &'static str) -> Failure {
        match self.step {
            Step::Fetch(_) => Failure::executed(Reason::ResponseTooLarge, message),
            Step::Command | Step::CorrectedCommand { .. } => Failure::not_sent(Reason::ResponseTooLarge, message),
        }
    }
}

/// A command as a T=0 card gets it, and how many data bytes it asks for. T=0 cannot carry a command without P3, a case
/// 4 or an extended length (ISO 7816-3 §12.2): what is left out comes back through `61xx`.
fn fitted_to_t0(apdu: &CommandApdu) -> (ApduBytes, usize) {
    let ([class, instruction, p1, p2], data) = (apdu.header(), apdu.data());
    if data.is_empty() {
        let expected = apdu.expected_length().unwrap_or(0);
        // A length of 256 and more is written 00; so is "no data" of case 1.
        let le = if expected < 256 { expected as u8 } else { 0 };
        ([class, instruction, p1, p2, le].into(), expected.min(256))
    } else {
        // At most 255 data bytes, as checked at the start.
        ([&[class, instruction, p1, p2, data.len() as u8], data].concat().into(), 0)
    }
}

/// `6Cxx` may be followed by the same command only where nothing but Le differs: no data, not protected, no link of a chain.
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
             look at the card, then set continue_class or continue_instruction"
        ),
    )
}

#[cfg(test)]
mod tests;
