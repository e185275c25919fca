//! The command line: its arguments, and the way from them to an exit code.

mod broker;
mod command;
mod failure;
mod json;
mod policy;
mod readers;
mod select;
mod session;
mod token;
mod transmit;
mod turn;
mod units;
mod watch;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use cardbroker_client::{Client, ConnectOptions, Endpoint, Error};
use clap::{Parser, Subcommand};
use failure::{Exit, Failure};

/// Use the smart cards of this machine through the broker.
#[derive(Parser)]
#[command(name = "cardbroker", version, after_long_help = HELP)]
pub(crate) struct Arguments {
    /// Where the broker is: unix:/path or http://127.0.0.1:port. Without it the variable CARDBROKER_ENDPOINT counts,
    /// then the default socket.
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<Endpoint>,
    /// File with the token that the broker's TCP port asks for. Without it the variable CARDBROKER_TOKEN_FILE counts.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for a broker that does not answer yet.
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    connect_timeout: Duration,
    /// Write JSON instead of text; errors too.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell which broker answers, its limits, and how it sees you.
    Broker,
    /// List the readers and what is in them.
    Readers,
    /// Print every change of readers and cards as one line, until Ctrl-C.
    Watch(watch::WatchArguments),
    Transmit(Box<transmit::TransmitArguments>),
    Session(Box<session::SessionArguments>),
    /// Make, list and remove the tokens for the broker's TCP port.
    #[command(subcommand)]
    Token(token::TokenCommand),
    Policy(policy::PolicyArguments),
}

const HELP: &str = "\
Examples:
  cardbroker broker
  cardbroker readers
  cardbroker watch --json
  cardbroker transmit yubikey '00 A4 04 00 09 A0 00 00 03 08 00 00 10 00 00'
  cardbroker transmit readers/virtual-pcd-00-00 00A4040007D276000085010100 00B0000002 --wait-timeout 5s
  cardbroker transmit yubikey - < commands-with-pin.txt
  cardbroker session yubikey
  cardbroker session yubikey --wait-for-card < commands-with-pin.txt
  cardbroker token new build-7 --out token
  cardbroker --endpoint http://127.0.0.1:7777 --token-file token readers

Programs with the same random text in CARDBROKER_GROUP are one isolation group: they share verified PINs.

A session's exit code is about the line that failed; the answers to those before it are printed.

Exit codes:
  0  done
  1  the broker refused (a missing or wrong token, too) or failed, or Ctrl-C came first; nothing was sent to the card
  2  the command line or the request is malformed, or the token file cannot be used
  3  no broker, or the connection was lost before anything was sent
  4  no such reader, or no card in it; nothing was sent
  5  the unit stopped early: the answers that came are printed, the other commands were not sent
  6  a command ran, or may have run, and its answer did not come (the answers before it are printed): check the card's
     state before you send it again
  7  the turn did not come in time; nothing was sent";

/// Where the output goes.
pub(crate) struct Screen<'a> {
    /// Results, and nothing else.
    pub(crate) out: &'a mut dyn Write,
    /// Errors and hints.
    pub(crate) err: &'a mut dyn Write,
    /// Whether `out` is read by a person.
    pub(crate) terminal: bool,
}

/// Does what the arguments say. Reports errors on the screen.
pub(crate) fn run(arguments: Arguments, screen: &mut Screen<'_>) -> ExitCode {
    let json = arguments.json;
    execute(arguments, screen).unwrap_or_else(|failure| {
        failure.report(json, screen.err);
        failure.exit().into()
    })
}

fn execute(arguments: Arguments, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let Arguments { endpoint, token_file, connect_timeout, json, command } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connect = connect(endpoint, token_file, connect_timeout);
    match command {
        Command::Policy(arguments) => return policy::run(&arguments, json),
        Command::Token(command) => token::run(command, json, screen),
        Command::Broker => runtime.block_on(async { broker::run(&connect.await?, json, screen).await }),
        Command::Readers => runtime.block_on(async { readers::run(&connect.await?, json, screen).await }),
        Command::Watch(arguments) => {
            runtime.block_on(async { watch::run(&connect.await?, arguments, json, screen).await })
        }
        Command::Transmit(arguments) => {
            // What is malformed is told without a broker, too.
            let commands = arguments.commands()?;
            runtime.block_on(async { transmit::run(&connect.await?, *arguments, commands, json, screen).await })
        }
        Command::Session(arguments) => {
            runtime.block_on(async { session::run(&connect.await?, *arguments, json, screen).await })
        }
    }?;
    Ok(Exit::Done.into())
}

async fn connect(
    endpoint: Option<Endpoint>,
    token_file: Option<PathBuf>,
    connect_timeout: Duration,
) -> Result<Client, Error> {
    let endpoint = endpoint.map_or_else(Endpoint::from_environment, Ok)?;
    let mut options = ConnectOptions { connect_timeout, ..ConnectOptions::from_environment() };
    options.token_file = token_file.or(options.token_file);
    Client::connect_with(endpoint, options).await
}

/// A text from outside on one line, without anything that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(printable("Reader\x1b[2J\n"), "Reader\u{FFFD}[2J\u{FFFD}");
    }
}
