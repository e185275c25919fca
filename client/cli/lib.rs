//! The program `cardbroker`: the smart-card readers of this machine, from the command line. A library, so that its
//! manual can be made from its arguments.

mod apdu;
mod arguments;
mod ask;
mod broker;
mod card;
mod clock;
mod command;
mod completion;
mod daemon;
mod doctor;
mod end;
#[cfg(target_os = "linux")]
mod exec;
mod failure;
mod hint;
mod json;
mod layout;
mod log;
mod metrics;
mod readers;
mod release;
mod reload;
mod report;
mod reset;
#[cfg(test)]
#[path = "../rust/tests/support/sample.rs"]
mod sample;
mod script;
mod select;
mod session;
mod status;
mod top;
mod trace;
mod transmit;
mod turn;
mod user;
mod wait;
mod waiting;
mod watch;
mod words;

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use arguments::{Arguments, Command};
use cardbroker_client::{Client, ConnectOptions, Endpoint, EndpointError, Error};
use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;
use failure::{Exit, Failure};
use tokio::runtime::Runtime;
use trace::{Action, TraceArguments};

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    // Ends the process if a shell asks for completions.
    CompleteEnv::with_factory(command).shells(completion::SHELLS).complete();
    let arguments = Arguments::try_parse().unwrap_or_else(|error| hint::add(error).exit());
    // Not locked for the whole run: the prompt's thread writes to them, too.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let terminal = stdout.is_terminal();
    run(arguments, &mut Screen { out: &mut stdout, err: &mut stderr, terminal })
}

/// The command line's options and subcommands, for its manual.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The outputs of the program, which tests replace.
struct Screen<'a> {
    /// Receives the results and nothing else.
    out: &'a mut dyn Write,
    /// Receives errors, hints and prompts.
    err: &'a mut dyn Write,
    /// Whether `out` is a terminal.
    terminal: bool,
}

/// Executes the command of the arguments. Reports errors on the screen.
fn run(arguments: Arguments, screen: &mut Screen<'_>) -> ExitCode {
    let json = arguments.json;
    execute(arguments, screen).unwrap_or_else(|failure| {
        failure.report(json, screen.err);
        failure.exit().into()
    })
}

fn execute(arguments: Arguments, screen: &mut Screen<'_>) -> Result<ExitCode, Failure> {
    let Arguments { endpoint, token_file, connect_timeout, json, command } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = endpoint.map_or_else(Endpoint::from_environment, |named| Ok(Some(named)));
    if let (Ok(Some(endpoint)), false) = (&endpoint, command.is_local()) {
        warn_of_plain_tcp(endpoint, json, screen.err)?;
    }
    let connect = || {
        let connecting = connect(endpoint.clone(), token_file.clone(), connect_timeout);
        until_signal(&runtime, async { Ok(connecting.await?) })
    };
    match command {
        Command::Policy(arguments) => return arguments.run(json),
        Command::Token(arguments) => return arguments.run(json),
        Command::Trace(TraceArguments { action: Some(Action::Show(arguments)), .. }) => trace::show(&arguments, screen),
        #[cfg(target_os = "linux")]
        Command::Exec(arguments) => {
            let mut options = ConnectOptions { connect_timeout, ..ConnectOptions::from_environment() };
            options.token_file = token_file.or(options.token_file);
            let endpoint = endpoint.map_err(Error::from)?;
            return runtime.block_on(exec::run(endpoint, options, arguments, screen));
        }
        Command::Broker => until_signal(&runtime, broker::run(&connect()?, json, screen)),
        Command::Readers => until_signal(&runtime, readers::run(&connect()?, json, screen)),
        Command::Card(arguments) => runtime.block_on(card::run(&connect()?, arguments, json, screen)),
        Command::Watch(arguments) => runtime.block_on(watch::run(&connect()?, arguments, json, screen)),
        Command::Wait(arguments) => runtime.block_on(wait::run(&connect()?, arguments, json, screen)),
        Command::Reset(arguments) => runtime.block_on(reset::run(&connect()?, arguments, json, screen)),
        Command::Status(arguments) => runtime.block_on(status::run(&connect()?, arguments, json, screen)),
        Command::Top(arguments) => {
            arguments.check(json, screen.terminal)?;
            runtime.block_on(top::run(&connect()?, arguments))
        }
        Command::Trace(arguments) => runtime.block_on(trace::run(&connect()?, arguments, json, screen)),
        Command::Release(arguments) => until_signal(&runtime, release::run(&connect()?, arguments, json, screen)),
        Command::Doctor(arguments) if arguments.winscard => return arguments.check_winscard(json),
        Command::Doctor(_) => until_signal(&runtime, doctor::run(endpoint, token_file, json, screen)),
        Command::Report(arguments) => {
            until_signal(&runtime, report::run(endpoint, token_file, &arguments, json, screen))
        }
        Command::Reload(_) => until_signal(&runtime, reload::run(&connect()?, json, screen)),
        Command::Metrics(_) => until_signal(&runtime, metrics::run(&connect()?, json, screen)),
        Command::Log(arguments) => until_signal(&runtime, log::run(&connect()?, arguments, json, screen)),
        Command::Transmit(arguments) => {
            // Malformed input is reported even without a broker.
            let unit = arguments.unit(screen.terminal && !json)?;
            runtime.block_on(transmit::run(&connect()?, *arguments, unit, json, screen))
        }
        Command::Session(arguments) => runtime.block_on(session::run(&connect()?, *arguments, json, screen)),
    }?;
    Ok(Exit::Done.into())
}

/// Runs a command that sends nothing to a card, and ends it at a signal.
fn until_signal<T>(runtime: &Runtime, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime.block_on(end::before_sending(work))
}

async fn connect(
    endpoint: Result<Option<Endpoint>, EndpointError>,
    token_file: Option<PathBuf>,
    connect_timeout: Duration,
) -> Result<Client, Error> {
    let mut options = ConnectOptions { connect_timeout, ..ConnectOptions::from_environment() };
    options.token_file = token_file.or(options.token_file);
    match endpoint? {
        Some(endpoint) => Client::connect_with(endpoint, options).await,
        None => Client::find(options).await,
    }
}

fn warn_of_plain_tcp(endpoint: &Endpoint, json: bool, err: &mut dyn Write) -> Result<(), io::Error> {
    if !matches!(endpoint, Endpoint::PlainTcp { .. }) {
        return Ok(());
    }
    let warning = format!("{endpoint} is plain TCP: a program that takes or relays the port reads tokens and PINs");
    match json {
        true => json::write_line(err, &serde_json::json!({ "warning": { "message": warning } })),
        false => writeln!(err, "cardbroker: warning: {warning}"),
    }
}

/// A text from outside on one line, without control characters.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(printable("Reader\x1b[2J\n"), "Reader\u{FFFD}[2J\u{FFFD}");
    }
}
