//! `cardbroker transmit`: sends APDUs to a card as one unit.

use std::{io, time::Duration};

use cardbroker_client::{ApduBytes, CardReset, Client, Command, Error, StopRule, Transmitted, hex};
use clap::{Args, ValueEnum};
use humantime::parse_duration;
use tokio::sync::watch;

use super::{
    Failure, Screen,
    command::{CommandArguments, Style},
    completion, end, json,
    script::{self, Pattern},
    select::find,
    turn::TurnArguments,
    waiting::Wait,
};

/// Send APDUs to a card as one unit: no other program's command runs between them.
///
/// On a terminal prints each command with its name, the status word with its meaning, and the data as a tree of BER-TLV
/// objects or as a dump; data that may be secret are not repeated. Otherwise prints one line for each command: the
/// response data, if any, and the status word, both in hexadecimal and separated by one space; without data the line is
/// the status word alone.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TransmitArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    /// Command APDUs in hexadecimal, or words (see below). A single `-` reads them from standard input, one on each
    /// line: use it for PINs, which other users can otherwise see in the list of processes.
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
    #[arg(long, value_name = "RULE", default_value = "iso", help_heading = "Answers")]
    stop_rule: Rule,
    /// Let the unit go on after these status words instead of those of the stop rule; in hexadecimal, such as 6A82 or
    /// 6900/FF00 (the mask has the bits to compare). May be repeated.
    #[arg(long, value_name = "VALUE[/MASK]", help_heading = "Answers", conflicts_with = "expect")]
    continue_on: Vec<Pattern>,
    /// Make a repeat safe: a second call with the same id (16-64 random bytes in hexadecimal) gets the outcome of the
    /// first.
    #[arg(long, value_name = "HEX", value_parser = request_id)]
    request_id: Option<ApduBytes>,
}

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

const HELP: &str = "\
Commands:
  00 A4 04 00 ...  an APDU in hexadecimal, with spaces, colons and 0x at will
  select NAME      select an application: piv, openpgp, oath, fido, ..., or an
                   AID in hexadecimal
  =9000            after a command: the status word that it must be answered
                   with

Also on standard input:
  reset, cold      before the first command: reset the card
  echo TEXT        print the text
  # ...            a comment, also after a command

Examples:
  cardbroker transmit yubikey 'select piv' '00 CB 3F FF 05 5C 03 5F C1 02 00'
  cardbroker transmit desk 'select openpgp' 00CA006E00 --expect 9000 && echo fine
  cardbroker transmit desk 00A4040007D276000085010100 --wait-timeout 5s
  cardbroker transmit yubikey - < commands-with-pin.txt
  cardbroker transmit yubikey 'select ndef' --stop-rule any --json";

fn request_id(text: &str) -> Result<ApduBytes, String> {
    let id = hex::parse(text).map_err(|error| error.to_string())?;
    if (16..=64).contains(&id.len()) { Ok(id) } else { Err(format!("{} bytes, must be 16 to 64", id.len())) }
}

/// The commands of a unit, and what is shown of them.
pub(crate) struct Unit {
    commands: Vec<Command>,
    /// The status words that each command must be answered with; none for any.
    expected: Vec<Vec<Pattern>>,
    /// The lines before the answer of each command, and after the last one.
    heads: Vec<String>,
    reset: Option<CardReset>,
    style: Style,
}

impl TransmitArguments {
    /// Reads and checks the commands, for a screen that is a terminal or not.
    ///
    /// # Errors
    /// [`Failure::Usage`] if one is malformed, or there are too many.
    pub(crate) fn unit(&self, terminal: bool) -> Result<Unit, Failure> {
        let script::Unit { reset, commands: sent, echoes } = script::read(&self.apdus, self.options.raw, io::stdin())?;
        let style = self.options.style(terminal);
        let mut heads = vec![String::new(); sent.len() + 1];
        for (index, text) in echoes {
            heads[index] += &format!("{text}\n");
        }
        let (mut commands, mut expected) = (Vec::new(), Vec::new());
        for (sent, head) in sent.into_iter().zip(&mut heads) {
            *head += &style.command(&sent.apdu);
            let patterns = self.options.expected(sent.expected);
            let go_on = if patterns.is_empty() { &self.continue_on } else { &patterns };
            let command = self.options.command(sent.apdu).stop_rule(self.stop_rule.into());
            let rule = |command: Command, pattern: &Pattern| command.continue_on(pattern.value, pattern.mask);
            commands.push(go_on.iter().fold(command, rule));
            expected.push(patterns);
        }
        Ok(Unit { commands, expected, heads, reset, style })
    }
}

impl Unit {
    /// The commands with an answer, and the answers.
    fn text(&self, transmitted: &Transmitted) -> String {
        let answers = transmitted.results.iter().map(|result| self.style.answer(result));
        let mut told: String = self.heads.iter().zip(answers).map(|(head, answer)| format!("{head}{answer}")).collect();
        if transmitted.results.len() + 1 == self.heads.len() {
            told.extend(self.heads.last().map(String::as_str));
        }
        told
    }
}

pub(crate) async fn run(
    client: &Client,
    arguments: TransmitArguments,
    mut unit: Unit,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let reader = &*end::before_sending(find(client, &arguments.reader)).await?.name;
    let mut request = arguments.turn.of_unit(client.transmit(reader).commands(std::mem::take(&mut unit.commands)));
    if let Some(reset) = unit.reset {
        request = request.reset_before(reset);
    }
    if let Some(timeout) = arguments.timeout {
        request = request.deadline(timeout);
    }
    if let Some(id) = arguments.request_id {
        request = request.request_id(id.expose_for_wire());
    }

    let wait = Wait { client, reader, is_session: false, turns_ahead: watch::channel(None).1 };
    let outcome = end::while_sending(wait.talk(request.send(), json, screen.err)).await?;
    let (transmitted, stop) = match &outcome {
        Ok(transmitted) => (transmitted, None),
        Err(Error::Stopped { stop, partial }) => (&**partial, Some(&**stop)),
        Err(_) => return Ok(outcome.map(drop)?),
    };
    // A stop takes precedence over a failure to print: it may concern a command that ran.
    let written = if json {
        json::write_line(screen.out, &json::unit(reader, transmitted, stop))
    } else {
        write!(screen.out, "{}", unit.text(transmitted))
    };
    // An unexpected answer is the reason for the stop behind it.
    script::check(&transmitted.results, &unit.expected)?;
    outcome?;
    written.map_err(Failure::Answer)
}
