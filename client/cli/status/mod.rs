//! `cardbroker status`: the broker and its readers from inside, once or again and again.

mod broker;
pub(crate) mod json;
mod reader;

use std::time::Duration;

use cardbroker_client::{
    Client, Error,
    diagnostics::{self, Status},
};
use clap::Args;
pub(crate) use reader::{LONG_CALL, LONG_TURN, driver_call, turn};
use tokio::time::sleep;

use super::{
    Failure, Screen, clock::Clock, completion, end, json::write_line, layout::Paint, printable, select::find, watch,
};

/// The permission that shows the state.
pub(crate) const NEEDED: &str = "diagnose";

/// The pause before a lost watch is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Clears the rest of the line, and the rest of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const HOME: &str = "\x1b[H";
const CLEAR_ALL: &str = "\x1b[2J";

/// Show who holds the cards, who waits, and what went wrong; for operators.
///
/// First the broker itself, then each reader: its state and card, the holder and its last command, a call of the driver
/// that runs, the waiting requests in their order, the last incidents, and counters. Nothing that a card or a program
/// has sent is shown; names of programs are what the programs call themselves.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArguments {
    /// Only this reader, with more incidents: its id, its name, its display name, or a part of these that only one
    /// reader has.
    #[arg(add = completion::readers())]
    reader: Option<String>,
    /// Show the state again and again, until Ctrl-C (exit code 0).
    #[arg(long)]
    watch: bool,
    /// The time between two states, 250ms-1h. [default: 1s]
    #[arg(long, requires = "watch", value_name = "DURATION", value_parser = interval)]
    interval: Option<Duration>,
}

const HELP: &str = "\
Examples:
  cardbroker status
  cardbroker status yubikey --watch
  cardbroker status --json
  cardbroker status --watch --interval 10s --json >> states.jsonl

Needs the permission diagnose, which a rule must grant by name: `all` does not include it. Without rules the user that \
runs the broker and root have it. A rule that is restricted to some readers shows those and not the broker itself. \
`denied by rule ...` means that this rule decides, or that none allows it: cardbroker policy check --help.";

/// The time between two states: 250 ms–1 h, as in the contract.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(250)..=Duration::from_secs(3600);
    if range.contains(&interval) { Ok(interval) } else { Err("must be 250ms to 1h".to_owned()) }
}

pub(crate) async fn run(
    client: &Client,
    arguments: StatusArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let reader = match &arguments.reader {
        Some(reader) => Some(end::before_sending(find(client, reader)).await?.name),
        None => None,
    };
    let mut view = View { endpoint: client.endpoint().to_string(), json, is_detailed: reader.is_some() };
    if arguments.watch {
        return watch(client, reader, arguments.interval, &mut view, screen).await;
    }
    let mut request = client.diagnostics().status();
    if let Some(reader) = reader {
        request = request.at(reader);
    }
    let status = async { request.get().await.map_err(|error| Failure::operator(error, NEEDED)) };
    let status = end::before_sending(status).await?;
    view.show(&status, screen)
}

async fn watch(
    client: &Client,
    reader: Option<String>,
    interval: Option<Duration>,
    view: &mut View,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut watch = client.diagnostics().watch_status();
    if let Some(reader) = reader {
        watch = watch.at(reader);
    }
    if let Some(interval) = interval {
        watch = watch.interval(interval);
    }
    let end = end::signal_or_closed_output();
    tokio::pin!(end);
    if view.redraws(screen) {
        write!(screen.out, "{CLEAR_ALL}")?;
    }
    loop {
        let status = tokio::select! {
            biased;
            ended = &mut end => return ended,
            status = watch.next() => status,
        };
        match status {
            Ok(status) => view.show_again(&status, screen)?,
            Err(error) if error.is_permanent() => return Err(Failure::operator(error, NEEDED)),
            Err(error) => {
                lost(&error, view.json, screen)?;
                tokio::select! {
                    biased;
                    ended = &mut end => return ended,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
}

fn lost(error: &Error, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let message = watch::lost(error);
    match json {
        true => write_line(screen.err, &serde_json::json!({ "warning": { "message": message } }))?,
        false => writeln!(screen.err, "cardbroker: {}", printable(&message))?,
    }
    Ok(())
}

/// How a state is shown.
struct View {
    endpoint: String,
    json: bool,
    /// Whether one reader is shown with all that is known of it.
    is_detailed: bool,
}

impl View {
    fn redraws(&self, screen: &Screen<'_>) -> bool {
        screen.terminal && !self.json
    }

    fn show(&self, status: &Status, screen: &mut Screen<'_>) -> Result<(), Failure> {
        if self.json {
            write_line(screen.out, &json::status(status))?;
        } else {
            write!(screen.out, "{}", self.text(status, Paint::on(screen.terminal)))?;
        }
        Ok(())
    }

    /// Shows a further state: on a terminal in the place of the one before, otherwise below it.
    fn show_again(&self, status: &Status, screen: &mut Screen<'_>) -> Result<(), Failure> {
        if !self.redraws(screen) {
            self.show(status, screen)?;
            if !self.json {
                writeln!(screen.out)?;
            }
        } else {
            let text = self.text(status, Paint::on(true)).replace('\n', &format!("{CLEAR_LINE}\n"));
            write!(screen.out, "{HOME}{text}{CLEAR_BELOW}")?;
        }
        Ok(screen.out.flush()?)
    }

    fn text(&self, status: &Status, paint: Paint) -> String {
        let clock = Clock::at(diagnostics::time(status.now));
        let broker = status.broker.iter().map(|broker| broker::text(broker, &self.endpoint, &clock, paint));
        let readers = status.readers.iter().map(|state| reader::text(state, self.is_detailed, &clock, paint));
        let blocks: Vec<_> = broker.chain(readers).collect();
        match status.readers.is_empty() {
            true => blocks.join("\n") + "\nno readers: there are none, or you may diagnose none of them\n",
            false => blocks.join("\n"),
        }
    }
}

#[cfg(test)]
mod tests;
