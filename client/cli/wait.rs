//! `cardbroker wait`: waits for a card, or for its removal.

use std::time::Duration;

use cardbroker_client::{Client, Reader, ReaderState, WatchEvent};
use clap::Args;
use humantime::{format_duration, parse_duration};
use tokio::time::timeout;

use super::{
    Failure, Screen, card, completion, end, json, printable,
    readers::short,
    select::{matches, select},
};

/// Wait until a usable card is in a reader, and print the reader's name.
///
/// Sends nothing to the card. Ends with code 4 if the time is over before.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct WaitArguments {
    /// The reader, which may be plugged in later: its id, its name, its display name, or a part of these that only one
    /// reader has. [default: any reader]
    #[arg(add = completion::readers())]
    reader: Option<String>,
    /// Wait until no card is in the reader.
    #[arg(long, requires = "reader")]
    removed: bool,
    /// How long to wait. [default: without end]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    limit: Option<Duration>,
}

const HELP: &str = "\
Examples:
  cardbroker wait && cardbroker readers
  cardbroker wait yubikey --for 30s
  cardbroker wait yubikey --removed";

pub(crate) async fn run(
    client: &Client,
    arguments: WaitArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let limit = arguments.limit.unwrap_or(Duration::MAX);
    let found = end::before_sending(async {
        match timeout(limit, found(client, &arguments)).await {
            Ok(found) => found,
            Err(_) => Err(Failure::Reader(over(&arguments, limit))),
        }
    });
    let reader = found.await?;
    match json {
        true => json::write_line(screen.out, &json::reader(&reader))?,
        false => writeln!(screen.out, "{}{}", printable(short(&reader.name)), kind(&reader))?,
    }
    Ok(())
}

/// The kind of a card that is there.
fn kind(reader: &Reader) -> String {
    card::kind(&card::Atr::read(&reader.atr)).map(|kind| format!("  {kind}")).unwrap_or_default()
}

fn over(arguments: &WaitArguments, limit: Duration) -> String {
    let limit = format_duration(limit);
    match (&arguments.reader, arguments.removed) {
        (Some(reader), true) => format!("the card was not removed from \"{reader}\" within {limit}"),
        (Some(reader), false) => format!("no usable card came to \"{reader}\" within {limit}"),
        (None, _) => format!("no usable card came within {limit}"),
    }
}

/// The first reader in the wanted state.
async fn found(client: &Client, arguments: &WaitArguments) -> Result<Reader, Failure> {
    let mut watch = client.watch();
    let mut seen: Option<Reader> = None;
    loop {
        match watch.next().await {
            WatchEvent::Disconnected(error) if error.is_permanent() => return Err(error.into()),
            // The watch connects again by itself.
            WatchEvent::Disconnected(_) => continue,
            WatchEvent::Connected | WatchEvent::Updated(_) | WatchEvent::Removed(_) => {}
        }
        // An event tells one reader: only the list tells whether a name is unique.
        let Ok(readers) = client.readers().await else { continue };
        let Some(wanted) = &arguments.reader else {
            match readers.iter().find(|reader| is_fitting(reader, false)) {
                Some(reader) => return Ok(reader.clone()),
                None => continue,
            }
        };
        match (&matches(&readers, wanted)[..], &seen) {
            ([reader], _) if is_fitting(reader, arguments.removed) => return Ok((*reader).clone()),
            ([reader], _) => seen = Some((*reader).clone()),
            // The reader has gone with its card, or is still to come.
            ([], Some(gone)) if arguments.removed => return Ok(gone.clone()),
            // A token takes its reader with it, perhaps before this program has looked.
            ([], None) if arguments.removed => return Ok(Reader { name: wanted.clone(), ..Reader::default() }),
            ([], _) => {}
            _ => return select(&readers, wanted).cloned(),
        }
    }
}

fn is_fitting(reader: &Reader, removed: bool) -> bool {
    let state = ReaderState::try_from(reader.state);
    matches!((state, removed), (Ok(ReaderState::Ready), false) | (Ok(ReaderState::Empty), true))
}
