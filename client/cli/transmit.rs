//! `cardbroker transmit`: sends APDUs to a card as one unit.

use std::{io, str::FromStr, time::Duration};

use cardbroker_client::{ApduBytes, Client, Command, CommandResult, Error, ResultKind, StopRule, hex, status_word};
use clap::{Args, ValueEnum};
use humantime::parse_duration;
use tokio::sync::watch;

use super::{
    Failure, Screen, command::CommandArguments, completion, end, json, select::find, turn::TurnArguments, units,
    waiting::Wait,
};

/// Send APDUs to a card as one unit: no other program's command runs between them.
///
/// Prints one line for each command: the response data, if any, and the status word, both in hexadecimal and separated
/// by one space; without data the line is the status word alone. On a terminal the meaning of the status word follows.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TransmitArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    /// Command APDUs in hexadecimal; spaces and colons are allowed inside one argument. A single `-` reads them from
    /// standard input, one on each line: use it for PINs, which other users can otherwise see in the list of processes.
    #[arg(required = true, value_name = "APDU")]
    apdus: Vec<String>,
    #[command(flatten)]
    turn: TurnArguments,
    /// Deadline for the whole call. A unit that has begun then goes on without this program, and it is unknown whether
    /// it ran. [default: the wait and 150s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    options: CommandArguments,
    /// Status words after which the unit goes on to its next command.
    #[arg(long, value_name = "RULE", default_value = "iso", help_heading = "APDUs")]
    stop_rule: Rule,
    /// Let the unit go on after these status words instead of those of the stop rule; in hexadecimal, such as 6A82 or
    /// 6900/FF00 (the mask has the bits to compare). May be repeated.
    #[arg(long, value_name = "VALUE[/MASK]", help_heading = "APDUs")]
    continue_on: Vec<Pattern>,
    /// Make a repeat safe: a second call with the same id (16-64 random bytes in hexadecimal) gets the outcome of the
    /// first.
    #[arg(long, value_name = "HEX", value_parser = request_id)]
    request_id: Option<ApduBytes>,
}

const EXAMPLES: &str = "\
Examples:
  cardbroker transmit yubikey '00 A4 04 00 09 A0 00 00 03 08 00 00 10 00 00'
  cardbroker transmit desk 00A4040007D276000085010100 --wait-timeout 5s
  cardbroker transmit yubikey - < commands-with-pin.txt
  cardbroker transmit yubikey 00A4040006F0434152440100 --stop-rule any --json";

/// The short names of the contract's stop rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// 9000, 9100, 91AF, 9Fxx, 61xx, 62xx, and 63xx without 6300 and 63Cx.
    Iso,
    /// Like iso, and also 91xx and 920x: the normal endings of SIM cards.
    Sim,
    /// Any status word at all.
    Any,
    /// Only the status word 9000.
    #[value(name = "only-9000")]
    Only9000,
}

impl From<Rule> for StopRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Iso => Self::Unspecified,
            Rule::Sim => Self::Sim,
            Rule::Any => Self::Any,
            Rule::Only9000 => Self::Only9000,
        }
    }
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

fn request_id(text: &str) -> Result<ApduBytes, String> {
    let id = hex::parse(text).map_err(|error| error.to_string())?;
    if (16..=64).contains(&id.len()) { Ok(id) } else { Err(format!("{} bytes, must be 16 to 64", id.len())) }
}

impl TransmitArguments {
    /// Reads and checks the commands.
    ///
    /// # Errors
    /// [`Failure::Usage`] if one is malformed, or there are too many.
    pub(crate) fn commands(&self) -> Result<Vec<Command>, Failure> {
        let apdus = units::read(&self.apdus, self.options.raw, io::stdin())?;
        let command = |apdu| {
            let command = self.options.command(apdu).stop_rule(self.stop_rule.into());
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
    let reader = &*end::before_sending(find(client, &arguments.reader)).await?.name;
    let mut unit = arguments.turn.of_unit(client.transmit(reader).commands(commands));
    if let Some(timeout) = arguments.timeout {
        unit = unit.deadline(timeout);
    }
    if let Some(id) = arguments.request_id {
        unit = unit.request_id(id.expose_for_wire());
    }

    let wait = Wait { client, reader, is_session: false, turns_ahead: watch::channel(None).1 };
    let outcome = end::while_sending(wait.talk(unit.send(), json, screen.err)).await?;
    let (transmitted, stop) = match &outcome {
        Ok(transmitted) => (transmitted, None),
        Err(Error::Stopped { stop, partial }) => (&**partial, Some(&**stop)),
        Err(_) => return Ok(outcome.map(drop)?),
    };
    // A stop takes precedence over a failure to print: it may concern a command that ran.
    let written = if json {
        json::write_line(screen.out, &json::unit(reader, transmitted, stop))
    } else {
        transmitted.results.iter().try_for_each(|result| writeln!(screen.out, "{}", line(result, screen.terminal)))
    };
    outcome?;
    Ok(written?)
}

/// Data and status word, followed by its meaning on a terminal.
pub(crate) fn line(result: &CommandResult, terminal: bool) -> String {
    let status_word = result.status_word;
    if !matches!(result.kind, ResultKind::Apdu | ResultKind::PinPad) {
        return hex::format(&result.data);
    }
    let data = if result.data.is_empty() { String::new() } else { hex::format(&result.data) + " " };
    let meaning = status_word::meaning(status_word).filter(|_| terminal);
    let meaning = meaning.map(|meaning| format!("  {meaning}")).unwrap_or_default();
    format!("{data}{status_word:04X}{meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_status_word_with_an_optional_mask() {
        assert_eq!("6a82".parse(), Ok(Pattern { value: 0x6A82, mask: 0xFFFF }));
        assert_eq!("6900/FF00".parse(), Ok(Pattern { value: 0x6900, mask: 0xFF00 }));
        assert!("69".parse::<Pattern>().is_err() && "6900/".parse::<Pattern>().is_err());
    }
}
