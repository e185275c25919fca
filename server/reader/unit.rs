//! A unit as a pure machine: which APDU goes to the card next, given the answers so far. It completes `61xx` and `6Cxx`, fits
//! commands to T=0 and applies the stop rules.
//!
//! ```text
//!            next()                     answered()
//! command ─▶ Sent ──── 6Cxx, plain case 2 ──▶ Corrected ─┐
//!              │ 61xx                            │ 61xx  │
//!              └──────────▶ Fetching ◀───────────┘       │
//!                             │ (61xx again, once 6Cxx)  │
//!                             ▼                          ▼
//!                        result of the command ──▶ next command, or stop
//! ```

use crate::{
    apdu::{ApduBytes, CommandApdu, StatusPattern, StatusWord},
    backend::Protocol,
    error::{Failure, Reason},
};

/// Room for the answers of one unit, in bytes: the contract's 1 MiB less what the rest of a response takes.
pub const RESPONSE_ROOM_BYTES: usize = (1 << 20) - (16 << 10);

/// The most GET RESPONSEs for one command.
pub const MAX_GET_RESPONSES: u32 = 256;

const GET_RESPONSE: u8 = 0xC0;
const MAX_SHORT_DATA_BYTES: usize = 255;

/// One command of a unit, as the caller asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCommand {
    /// The command.
    pub apdu: CommandApdu,
    /// Which status words let the unit go on; empty for the default rule.
    pub continue_on: Vec<StatusPattern>,
    /// The instruction that fetches the rest after `61xx`; `None` for GET RESPONSE.
    pub continue_instruction: Option<u8>,
    /// Send it although it may use up the last try of a PIN.
    pub allow_last_try: bool,
}

impl UnitCommand {
    fn lets_unit_go_on(&self, word: StatusWord) -> bool {
        match &*self.continue_on {
            [] => word.lets_unit_go_on(),
            patterns => patterns.iter().any(|pattern| pattern.matches(word)),
        }
    }
}

/// The first four bytes of all that the commands may send, each with its command's index. GET RESPONSE belongs to the command that it
/// completes and is not among them, unlike an instruction of the caller's own choice.
pub fn headers(commands: &[UnitCommand]) -> impl Iterator<Item = (usize, [u8; 4])> {
    commands.iter().enumerate().flat_map(|(index, command)| {
        let class = command.apdu.class().for_get_response().0;
        let continuing = command.continue_instruction.filter(|instruction| *instruction != GET_RESPONSE);
        let continuing = continuing.map(|instruction| [class, instruction, 0, 0]);
        [Some(command.apdu.header()), continuing].into_iter().flatten().map(move |header| (index, header))
    })
}

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Response data without the status word.
    pub data: ApduBytes,
    /// The last status word.
    pub status_word: StatusWord,
    /// Which exchange gave it.
    pub source: StatusWordSource,
    /// How many GET RESPONSEs were answered.
    pub get_response_count: u32,
}

/// Which of a command's exchanges gave the status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWordSource {
    /// The command itself.
    Command,
    /// The command with the Le that `6Cxx` asked for.
    CorrectedCommand,
    /// A GET RESPONSE.
    GetResponse,
}

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
    /// What the card gets.
    pub bytes: ApduBytes,
    /// The command that it belongs to.
    pub command: &'a UnitCommand,
    /// It completes an answer to the command, which was sent before: a GET RESPONSE, or the command with another Le.
    pub completes: bool,
}

impl Exchange<'_> {
    /// The first four bytes, if they are the caller's choice: a GET RESPONSE that completes a command is the broker's.
    pub fn header_of_choice(&self) -> Option<[u8; 4]> {
        let header: [u8; 4] = *self.bytes.first_chunk()?;
        let [_, instruction, ..] = header;
        (!self.completes || instruction != GET_RESPONSE).then_some(header)
    }
}

/// A unit on its way.
pub struct UnitRun<'a> {
    commands: &'a [UnitCommand],
    raw: bool,
    protocol: Protocol,
    index: usize,
    step: Step,
    answer: Option<CommandResult>,
    used_bytes: usize,
    stop: Option<Failure>,
}

/// The exchange that is due for the command at `index`.
enum Step {
    Command,
    CorrectedCommand { le: u8 },
    GetResponse { le: u8, corrected: bool },
}

impl<'a> UnitRun<'a> {
    /// A run of `commands` on a card that speaks `protocol`; `raw` sends every command as it is.
    ///
    /// # Errors
    /// [`Reason::UnsupportedLength`] if one of the commands cannot be sent to a T=0 card, before the first one is sent.
    pub fn new(commands: &'a [UnitCommand], raw: bool, protocol: Protocol) -> Result<Self, Failure> {
        if protocol == Protocol::T0 && !raw {
            for (index, command) in commands.iter().enumerate() {
                let data_bytes = command.apdu.data().len();
                if data_bytes > MAX_SHORT_DATA_BYTES {
                    return Err(Failure::not_sent(
                        Reason::UnsupportedLength,
                        format!(
                            "commands[{index}] has {data_bytes} data bytes, a T=0 card takes at most 255 at once: use command chaining"
                        ),
                    ));
                }
            }
        }
        Ok(Self { commands, raw, protocol, index: 0, step: Step::Command, answer: None, used_bytes: 0, stop: None })
    }

    /// The exchange that is due now.
    pub fn next(&self) -> Next<'a> {
        let Some(command) = self.commands.get(self.index).filter(|_| self.stop.is_none()) else {
            return Next::Finished(self.stop.clone());
        };
        let (bytes, expected) = match self.step {
            Step::Command => self.first_exchange(&command.apdu),
            Step::CorrectedCommand { le } => {
                let [class, instruction, p1, p2] = command.apdu.header();
                ([class, instruction, p1, p2, le].into(), length(le))
            }
            Step::GetResponse { le, .. } => {
                let class = command.apdu.class().for_get_response().0;
                let instruction = command.continue_instruction.unwrap_or(GET_RESPONSE);
                ([class, instruction, 0, 0, le].into(), length(le))
            }
        };
        if self.used_bytes + expected > RESPONSE_ROOM_BYTES {
            return Next::Finished(Some(too_large(
                "the answers so far leave no room for the next one: ask for less in one unit",
            )));
        }
        let completes = !matches!(self.step, Step::Command);
        Next::Exchange(Exchange { bytes, command, completes })
    }

    /// Takes the card's answer to the exchange that [`UnitRun::next`] named; `response` ends with a status word. Returns the
    /// command's result once it is complete.
    pub fn answered(&mut self, response: &[u8]) -> Option<CommandResult> {
        let command = self.commands.get(self.index)?;
        let (data, &[high, low]) = response.split_last_chunk()?;
        let word = StatusWord(u16::from_be_bytes([high, low]));
        self.used_bytes += data.len();

        let source = match self.step {
            Step::Command => StatusWordSource::Command,
            Step::CorrectedCommand { .. } => StatusWordSource::CorrectedCommand,
            Step::GetResponse { .. } => StatusWordSource::GetResponse,
        };
        let fetched = u32::from(source == StatusWordSource::GetResponse);
        let answer = match self.answer.take() {
            Some(before) => CommandResult {
                data: [&before.data, data].concat().into(),
                status_word: word,
                source,
                get_response_count: before.get_response_count + fetched,
            },
            None => CommandResult { data: data.into(), status_word: word, source, get_response_count: fetched },
        };

        if let Some(step) = self.follow_up(command, word) {
            if matches!(step, Step::GetResponse { .. }) && answer.get_response_count >= MAX_GET_RESPONSES {
                self.stop = Some(too_large("the card offers more after 256 GET RESPONSEs for one command"));
            }
            self.answer = Some(answer);
            self.step = step;
            return None;
        }

        self.index += 1;
        self.step = Step::Command;
        if self.index < self.commands.len() && !command.lets_unit_go_on(word) {
            self.stop = Some(Failure::not_sent(
                Reason::StatusWord,
                format!("the command before was answered {word:?}, which does not let the unit go on"),
            ));
        }
        Some(answer)
    }

    /// What the command under way has answered so far, if it was stopped between its exchanges. `6Cxx` is no answer: nothing ran.
    pub fn take_partial(&mut self) -> Option<CommandResult> {
        self.answer.take().filter(|_| matches!(self.step, Step::GetResponse { .. }))
    }

    /// The exchange that completes an answer, if it needs one.
    fn follow_up(&self, command: &UnitCommand, word: StatusWord) -> Option<Step> {
        if self.raw {
            return None;
        }
        if word.more_data().is_some() {
            return Some(Step::GetResponse { le: low_byte(word), corrected: false });
        }
        word.right_length()?;
        match self.step {
            Step::Command if is_plain_case_2(&command.apdu) => Some(Step::CorrectedCommand { le: low_byte(word) }),
            Step::GetResponse { corrected: false, .. } => {
                Some(Step::GetResponse { le: low_byte(word), corrected: true })
            }
            _ => None,
        }
    }

    /// The command as the card gets it, and how many data bytes it asks for. T=0 cannot carry a command without P3, a case 4
    /// or an extended length (ISO 7816-3 §12.2): what is left out comes back through `61xx`.
    fn first_exchange(&self, apdu: &CommandApdu) -> (ApduBytes, usize) {
        let expected = apdu.expected_length().unwrap_or(0);
        if self.raw || self.protocol != Protocol::T0 {
            return (apdu.bytes().into(), expected);
        }
        let ([class, instruction, p1, p2], data) = (apdu.header(), apdu.data());
        if data.is_empty() {
            // A length of 256 and more is written 00; so is "no data" of case 1.
            let le = if expected < 256 { expected as u8 } else { 0 };
            ([class, instruction, p1, p2, le].into(), expected.min(256))
        } else {
            // At most 255 data bytes, as checked at the start.
            ([&[class, instruction, p1, p2, data.len() as u8], data].concat().into(), 0)
        }
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

fn too_large(message: &'static str) -> Failure {
    Failure::not_sent(Reason::ResponseTooLarge, message)
}

#[cfg(test)]
mod tests;
