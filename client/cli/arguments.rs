//! The command line's arguments, and the help with the exit codes.

use std::{path::PathBuf, time::Duration};

use cardbroker_client::Endpoint;
use cardbroker_local::words::HERE;
use clap::{Parser, Subcommand};

#[cfg(target_os = "linux")]
use crate::exec::ExecArguments;
use crate::{
    card::CardArguments,
    daemon::{PolicyArguments, TokenArguments},
    doctor::DoctorArguments,
    log::LogArguments,
    metrics::MetricsArguments,
    release::ReleaseArguments,
    reload::ReloadArguments,
    report::ReportArguments,
    reset::ResetArguments,
    session::SessionArguments,
    status::StatusArguments,
    top::TopArguments,
    trace::{Action, TraceArguments},
    transmit::TransmitArguments,
    wait::WaitArguments,
    watch::WatchArguments,
};

/// Use the smart cards of this machine through the broker.
#[derive(Parser)]
#[command(name = "cardbroker", version, max_term_width = 100, after_long_help = HELP)]
pub(crate) struct Arguments {
    /// The broker's address, if it is not at a default place.
    #[arg(long, global = true, value_name = "URL", help_heading = CONNECTION, help = HERE.endpoint_help)]
    pub(crate) endpoint: Option<Endpoint>,
    /// File with the token and the certificate for the broker's TCP port. [default: the variable CARDBROKER_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION)]
    pub(crate) token_file: Option<PathBuf>,
    /// How long to wait for a broker that does not answer yet.
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s",
          help_heading = CONNECTION)]
    pub(crate) connect_timeout: Duration,
    /// Write JSON instead of text, also for errors.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading of the options that find the broker.
const CONNECTION: &str = "Connection";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the broker's version, its limits, and your identity at the broker.
    #[command(after_long_help = "Examples:\n  cardbroker broker")]
    Broker,
    /// List the readers and their cards. Sends nothing to a card.
    #[command(after_long_help = "Examples:\n  cardbroker readers\n  cardbroker readers --json")]
    Readers,
    Card(CardArguments),
    Watch(WatchArguments),
    Wait(WaitArguments),
    Reset(ResetArguments),
    Transmit(Box<TransmitArguments>),
    Session(Box<SessionArguments>),
    #[cfg(target_os = "linux")]
    Exec(ExecArguments),
    Status(StatusArguments),
    Top(TopArguments),
    Trace(TraceArguments),
    Release(ReleaseArguments),
    Reload(ReloadArguments),
    Metrics(MetricsArguments),
    Log(LogArguments),
    Doctor(DoctorArguments),
    Report(ReportArguments),
    Token(TokenArguments),
    Policy(PolicyArguments),
}

impl Command {
    /// Whether the command works without contacting a broker.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Policy(_) | Self::Token(_) => true,
            Self::Doctor(arguments) => arguments.winscard,
            Self::Trace(arguments) => matches!(arguments.action, Some(Action::Show(_))),
            _ => false,
        }
    }
}

const HELP: &str = "\
Examples:
  cardbroker broker
  cardbroker readers
  cardbroker card yubikey
  cardbroker watch --json
  cardbroker transmit yubikey '00 A4 04 00 09 A0 00 00 03 08 00 00 10 00 00'
  cardbroker transmit yubikey 'select piv' 00CB3FFF055C035FC10200 --expect 9000
  cardbroker transmit yubikey - < commands-with-pin.txt
  cardbroker session yubikey
  cardbroker session yubikey --wait-for-card < commands-with-pin.txt
  cardbroker exec -- opensc-tool --list-readers
  cardbroker status yubikey --watch
  cardbroker top
  cardbroker trace --reader yubikey --last 50
  cardbroker doctor
  cardbroker report -o report.txt
  cardbroker token new build-7 --out token
  cardbroker --endpoint https://127.0.0.1:7777 --token-file token readers

Programs with the same random text in CARDBROKER_GROUP are one isolation group: they share verified PINs.

A session's exit code is that of the failed line; the answers to the lines before it are printed.

Exit codes:
  0  done
  1  the broker refused or failed (also: missing or wrong token), or Ctrl-C or
     SIGTERM came first; nothing was sent to the card
  2  the command line or the request is malformed, or the token file cannot be
     used
  3  no broker, or the connection was lost before anything was sent
  4  no such reader, or no card in it; nothing was sent
  5  the unit stopped early: its answers so far are printed, the other commands
     were not sent
  6  a command ran, or may have run, and its answer is missing (the answers
     before it are printed): check the card's state before you send it again
  7  the turn did not come in time; nothing was sent
  8  doctor has found a problem
  9  a command was answered with another status word than expected; the
     commands after it were not sent";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
