//! `cardbroker log`: another filter for the broker's log, for a time.

use std::time::Duration;

use cardbroker_client::Client;
use clap::Args;
use serde_json::json;

use super::{
    Failure, Screen,
    clock::{Clock, rfc3339},
    json::write_line,
};

/// The permission that changes the filter.
const NEEDED: &str = "configure";

/// Replace the filter of the broker's log for a time, without a restart; for operators.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct LogArguments {
    /// Directives as in log.level of the configuration, for targets of Cardbroker: a level, or TARGET=LEVEL, separated
    /// by commas; at most 256 characters.
    #[arg(value_parser = filter)]
    filter: String,
    /// How long, 1s-1h; then the configured filter is in force again.
    #[arg(long = "for", value_name = "DURATION", value_parser = limit)]
    limit: Duration,
}

const HELP: &str = "\
Examples:
  cardbroker log debug --for 10m
  cardbroker log info,cardbroker::unit=trace --for 60s

The log itself is where the broker writes it, for example: journalctl -fu cardbroker. No level shows bytes of commands.

Needs the permission configure in a rule without readers, which must grant it by name: `all` does not include it. \
Without rules the user that runs the broker and root have it. `denied by rule ...` means that this rule decides, or \
that none allows it: cardbroker policy check --help.";

fn filter(text: &str) -> Result<String, &'static str> {
    let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    match (1..=256).contains(&text.len()) && is_printable {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 256 printable ASCII characters"),
    }
}

fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    if range.contains(&limit) { Ok(limit) } else { Err("must be 1s to 1h".to_owned()) }
}

pub(crate) async fn run(
    client: &Client,
    arguments: LogArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let LogArguments { filter, limit } = arguments;
    let reverts = client.diagnostics().set_log_filter(&filter, limit).await;
    let reverts = reverts.map_err(|error| Failure::operator(error, NEEDED))?;
    if json {
        return Ok(write_line(screen.out, &json!({ "filter": filter, "revert_time": reverts.and_then(rfc3339) }))?);
    }
    let until = reverts.map_or("later".to_owned(), |time| Clock::at(None).local(time));
    Ok(writeln!(screen.out, "the log filter is {filter} until {until}, then as configured")?)
}
