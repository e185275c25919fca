//! `cardbroker transmit`: APDUs to a card as one unit.

use std::{io, str::FromStr, time::Duration};

use cardbroker_client::{ApduBytes, Client, Command, CommandResult, Error, hex, status_word};
use clap::Args;
use humantime::parse_duration;

use super::{Failure, Screen, json, select::select, turn::TurnArguments, units};

/// Send APDUs to a card as one unit: no other program's command falls between them.
///
/// Prints one line for each command: the response data, if any, and the status word, both in hexadecimal and with one
/// space between; without data the line is the status word alone. On a terminal the meaning of the status word follows.
#[derive(Args)]
pub(crate) struct TransmitArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    reader: String,
    /// Command APDUs in hexadecimal; spaces and colons are allowed inside one argument. A single `-` reads them from
    /// standard input, one on each line: use it for PINs, which other users can see in the list of processes otherwise.
    #[arg(required = true, value_name = "APDU")]
    apdus: Vec<String>,
    #[command(flatten)]
    turn: TurnArguments,
    /// When to give up on everything. A unit that has begun then runs on, and its fate is unknown. [default: the wait
    /// and 150s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Let the unit go on after these status words instead of 9000, 61xx, 62xx and 63xx without 63Cx; in hexadecimal,
    /// such as 6A82 or 6900/FF00 (bits that count). May be repeated.
    #[arg(long, value_name = "VALUE[/MASK]")]
    continue_on: Vec<Pattern>,
    /// The instruction that fetches the rest of an answer after 61xx instead of C0, in hexadecimal (A5 for some cards).
    #[arg(long, value_name = "INS", value_parser = instruction, default_value = "00", hide_default_value = true)]
    continue_instruction: u8,
    /// Makes a repeat safe: a second call with the same id (16-64 random bytes in hexadecimal) gets the outcome of the
    /// first.
    #[arg(long, value_name = "HEX", value_parser = request_id)]
    request_id: Option<ApduBytes>,
}

/// Status words that agree with a value in the bits of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pattern {
    value: u16,
    mask: u16,
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (value, mask) = text.split_once('/').unwrap_or((text, "FFFF"));
        let word = |digits: &str| match digits.len() {
            4 => u16::from_str_radix(digits, 16).map_err(|_| "not hexadecimal"),
            _ => Err("a status word has four hexadecimal digits"),
        };
        Ok(Self { value: word(value)?, mask: word(mask)? })
    }
}

fn instruction(text: &str) -> Result<u8, std::num::ParseIntError> {
    u8::from_str_radix(text, 16)
}

fn request_id(text: &str) -> Result<ApduBytes, String> {
    let id = hex::parse(text).map_err(|error| error.to_string())?;
    if (16..=64).contains(&id.len()) { Ok(id) } else { Err(format!("{} bytes, must be 16 to 64", id.len())) }
}

impl TransmitArguments {
    /// The commands, read and checked.
    ///
    /// # Errors
    /// [`Failure::Usage`] if one is malformed, or there are too many.
    pub(crate) fn commands(&self) -> Result<Vec<Command>, Failure> {
        let apdus = units::read(&self.apdus, io::stdin())?;
        let command = |apdu| {
            let command = self.turn.command(apdu).continue_instruction(self.continue_instruction);
            self.continue_on.iter().fold(command, |command, pattern| command.continue_on(pattern.value, pattern.mask))
        };
        Ok(apdus.into_iter().map(command).collect())
    }
}

pub(crate) async fn run(
    client: &Client,
    arguments: TransmitArguments,
    commands: Vec<Command>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let readers = client.readers().await?;
    let reader = select(&readers, &arguments.reader)?.name.as_str();
    let turn = arguments.turn;
    let mut unit = client
        .transmit(reader)
        .commands(commands)
        .wait_timeout(turn.wait_timeout)
        .if_insertion_id(turn.if_insertion)
        .if_state_tag(turn.if_state);
    if let Some(timeout) = arguments.timeout {
        unit = unit.deadline(timeout);
    }
    if let Some(id) = arguments.request_id {
        unit = unit.request_id(id.into_unprotected());
    }
    if turn.wait_for_card {
        unit = unit.wait_for_card();
    }
    if turn.raw {
        unit = unit.raw();
    }
    if turn.reset {
        unit = unit.start_reset();
    }

    let outcome = unit.send().await;
    let (transmitted, stop) = match &outcome {
        Ok(transmitted) => (transmitted, None),
        Err(Error::Stopped { stop, partial }) => (&**partial, Some(stop)),
        Err(_) => return Ok(outcome.map(drop)?),
    };
    // A stop outranks a failure to print: it may be about a command that ran.
    let written = if json {
        json::write_line(screen.out, &json::unit(reader, transmitted, stop))
    } else {
        transmitted.results.iter().try_for_each(|result| writeln!(screen.out, "{}", line(result, screen.terminal)))
    };
    outcome?;
    Ok(written?)
}

/// Data and status word, and what that means if a person reads it.
pub(crate) fn line(result: &CommandResult, terminal: bool) -> String {
    let status_word = result.status_word;
    let data = if result.data.is_empty() { String::new() } else { hex::format(&result.data) + " " };
    let meaning = status_word::meaning(status_word).filter(|_| terminal);
    let meaning = meaning.map(|meaning| format!("  {meaning}")).unwrap_or_default();
    format!("{data}{status_word:04X}{meaning}")
}

#[cfg(test)]
mod tests {
    use cardbroker_client::StatusWordSource;

    use super::*;

    #[test]
    fn a_line_is_data_and_status_word_and_its_meaning_for_people() {
        let result = |data: &[u8], status_word| CommandResult {
            data: data.into(),
            status_word,
            status_word_source: StatusWordSource::Command,
            get_response_count: 0,
        };
        assert_eq!(line(&result(&[0xAB, 0x01], 0x9000), false), "AB01 9000");
        assert_eq!(line(&result(&[], 0x6A82), false), "6A82");
        assert_eq!(line(&result(&[], 0x6A82), true), "6A82  file or application not found");
        assert_eq!(line(&result(&[], 0x9F10), true), "9F10");
    }

    #[test]
    fn a_pattern_is_a_status_word_and_perhaps_a_mask() {
        assert_eq!("6a82".parse(), Ok(Pattern { value: 0x6A82, mask: 0xFFFF }));
        assert_eq!("6900/FF00".parse(), Ok(Pattern { value: 0x6900, mask: 0xFF00 }));
        assert!("69".parse::<Pattern>().is_err() && "6900/".parse::<Pattern>().is_err());
    }
}
