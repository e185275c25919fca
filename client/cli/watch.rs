//! `cardbroker watch`: one line for each change of a reader.

use std::{
    future::pending,
    io,
    time::{Duration, SystemTime},
};

use cardbroker_client::{Client, Error, Reader, WatchEvent, hex};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Screen,
    card::{self, Atr},
    clock::{Clock, rfc3339},
    completion, end, json,
    layout::{Colour, Paint, WIDTH},
    printable,
    readers::{colour, short},
    select::find,
};

/// Print every change of readers and cards as one line, until Ctrl-C.
///
/// A line has the local time, the reader, its state, and the answer to reset and the kind of its card. On a terminal a
/// long line is broken at 80 columns.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct WatchArguments {
    /// Only this reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: Option<String>,
    /// End after this many lines about readers; the state at the start is one line for each reader.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, such as 30s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    limit: Option<Duration>,
}

const HELP: &str = "\
Examples:
  cardbroker watch
  cardbroker watch yubikey
  cardbroker watch --count 1 --for 30s --json";

pub(crate) async fn run(
    client: &Client,
    arguments: WatchArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let end = end(arguments.limit);
    tokio::pin!(end);
    let wanted = match &arguments.reader {
        Some(wanted) => tokio::select! {
            biased;
            ended = &mut end => return ended,
            reader = find(client, wanted) => Some(reader?.name),
        },
        None => None,
    };
    let mut watch = client.watch();
    let mut left = arguments.count;
    let mut was_lost = false;
    let is_wanted = |reader: &Reader| wanted.as_ref().is_none_or(|wanted| *wanted == reader.name);
    while left != Some(0) {
        let event = tokio::select! {
            // The end comes first: Ctrl-C works before the first line, and however fast the changes come.
            biased;
            ended = &mut end => return ended,
            event = watch.next() => event,
        };
        match event {
            WatchEvent::Connected if !was_lost => {}
            WatchEvent::Connected => tell(json, screen, "connected", None, "connected to the broker again")?,
            WatchEvent::Disconnected(error) if error.is_permanent() => return Err(error.into()),
            WatchEvent::Disconnected(error) => {
                was_lost = true;
                tell(json, screen, "disconnected", None, &lost(&error))?;
            }
            WatchEvent::Updated(reader) if is_wanted(&reader) => {
                tell(json, screen, "updated", Some(&reader), &json::state(&reader))?;
                left = left.map(|left| left - 1);
            }
            WatchEvent::Removed(reader) if is_wanted(&reader) => {
                tell(json, screen, "removed", Some(&reader), "REMOVED")?;
                left = left.map(|left| left - 1);
            }
            WatchEvent::Updated(_) | WatchEvent::Removed(_) => {}
        }
    }
    Ok(())
}

/// Completes at Ctrl-C, at SIGTERM, when nobody reads the output any more, or at the end of the time limit.
async fn end(limit: Option<Duration>) -> Result<(), Failure> {
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::select! {
        ended = end::signal_or_closed_output() => ended,
        () = limit => Ok(()),
    }
}

/// The message of a lost connection.
pub(crate) fn lost(error: &Error) -> String {
    format!("no connection to the broker, trying again: {error}")
}

fn tell(json: bool, screen: &mut Screen<'_>, event: &str, reader: Option<&Reader>, text: &str) -> io::Result<()> {
    let now = SystemTime::now();
    if json {
        let message = if reader.is_none() { Value::from(text) } else { Value::Null };
        let line = json!({
            "time": rfc3339(now), "event": event, "reader": reader.map(json::reader), "message": message,
        });
        return json::write_line(screen.out, &line);
    }
    let time = Clock::at(None).local_millis(now);
    let told = match reader {
        Some(reader) => line(&time, reader, text, screen.terminal),
        None => format!("{time}  {}", printable(text)),
    };
    writeln!(screen.out, "{told}")
}

/// One change. On a terminal the card is in a line of its own if it does not fit beside the rest.
fn line(time: &str, reader: &Reader, state: &str, terminal: bool) -> String {
    let state_colour = if state == "REMOVED" { Colour::Red } else { colour(reader) };
    let id = printable(short(&reader.name));
    let head = format!("{time}  {id}  {}", Paint::on(terminal).paint(Some(state_colour), state));
    if reader.atr.is_empty() || state == "REMOVED" {
        return head;
    }
    let kind = card::kind(&Atr::read(&reader.atr)).map(|kind| format!("  {kind}")).unwrap_or_default();
    let card = format!("ATR {}{kind}", hex::format(&reader.atr));
    let width = time.len() + id.chars().count() + state.len() + card.chars().count() + 6;
    let gap = if terminal && width > WIDTH { format!("\n{:1$}", "", time.len() + 2) } else { "  ".to_owned() };
    format!("{head}{gap}{card}")
}

#[cfg(test)]
mod tests {
    use cardbroker_client::ReaderState;

    use super::*;

    #[test]
    fn a_change_has_the_card_and_its_kind() {
        let atr = hex::parse("3BFD1300008131FE158073C021C057597562694B657940").unwrap().to_vec();
        let mut reader = Reader { name: "readers/desk".into(), state: ReaderState::Ready.into(), ..Reader::default() };
        assert_eq!(line("14:02:10.123", &reader, "EMPTY", false), "14:02:10.123  desk  EMPTY");
        reader.atr = atr;
        let expected = "14:02:10.123  desk  READY  ATR 3BFD1300008131FE158073C021C057597562694B657940  YubiKey";
        assert_eq!(line("14:02:10.123", &reader, "READY", false), expected);
    }
}
