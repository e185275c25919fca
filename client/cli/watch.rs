//! `cardbroker watch`: one line for each change of a reader.

use std::{
    future::pending,
    io,
    time::{Duration, SystemTime},
};

use cardbroker_client::{Client, Error, Reader, WatchEvent};
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Screen, clock::rfc3339, end, json, printable};

#[derive(Args)]
pub(crate) struct WatchArguments {
    /// End after this many lines about readers; the state at the start is one line for each reader.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, such as 30s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    limit: Option<Duration>,
}

pub(crate) async fn run(
    client: &Client,
    arguments: WatchArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut watch = client.watch();
    let mut left = arguments.count;
    let mut was_lost = false;
    let end = end(arguments.limit);
    tokio::pin!(end);
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
            WatchEvent::Updated(reader) => {
                tell(json, screen, "updated", Some(&reader), &json::state(&reader))?;
                left = left.map(|left| left - 1);
            }
            WatchEvent::Removed(reader) => {
                tell(json, screen, "removed", Some(&reader), "REMOVED")?;
                left = left.map(|left| left - 1);
            }
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
    let time = rfc3339(SystemTime::now());
    if json {
        let message = if reader.is_none() { Value::from(text) } else { Value::Null };
        let line = json!({
            "time": time, "event": event, "reader": reader.map(json::reader), "message": message,
        });
        return json::write_line(screen.out, &line);
    }
    let time = time.as_deref().unwrap_or("-");
    match reader {
        Some(reader) if reader.insertion_id.is_empty() => {
            writeln!(screen.out, "{time}  {}  {text}", printable(&reader.name))
        }
        Some(reader) => {
            writeln!(screen.out, "{time}  {}  {text}  {}", printable(&reader.name), printable(&reader.insertion_id))
        }
        None => writeln!(screen.out, "{time}  {}", printable(text)),
    }
}
