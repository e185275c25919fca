//! An operator who follows a trace or watches the status, and reads all of it.

use std::time::Duration;

use cardbroker_client::{Client, diagnostics::TraceLevel};
use clap::ValueEnum;
use serde_json::json;
use tokio::task::spawn_blocking;

/// The shortest interval of a status.
const INTERVAL: Duration = Duration::from_millis(250);

/// The request that the operator repeats.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum View {
    /// The trace of all readers.
    Trace,
    /// The same with the data of harmless commands.
    Data,
    /// The status of the whole broker, at the shortest interval.
    Status,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    view: View,
}

/// Prints "ready", reads until its input ends, and then prints one line of JSON: how many events or states it has read,
/// and how many events it has missed.
pub(super) async fn run(Arguments { view }: Arguments) -> anyhow::Result<()> {
    let operator = Client::connect_default().await?.diagnostics();
    let (mut read, mut missed) = (0, 0);
    if view == View::Status {
        let mut watch = operator.watch_status().interval(INTERVAL);
        watch.next().await?;
        let mut input_ends = input_ends()?;
        loop {
            tokio::select! {
                _ = &mut input_ends => break,
                state = watch.next() => read += state.map(|_| 1)?,
            }
        }
    } else {
        let level = if view == View::Data { TraceLevel::Data } else { TraceLevel::Headers };
        let mut trace = operator.trace().level(level).begin().await?;
        let mut input_ends = input_ends()?;
        loop {
            tokio::select! {
                _ = &mut input_ends => break,
                batch = trace.next() => {
                    let batch = batch?;
                    read += batch.events.len();
                    missed += batch.missed_count;
                }
            }
        }
    }
    Ok(super::tell(&json!([read, missed]).to_string())?)
}

/// Prints "ready"; ends with the standard input.
fn input_ends() -> anyhow::Result<impl Future<Output = ()> + Unpin> {
    super::tell("ready")?;
    let input = spawn_blocking(super::order);
    Ok(Box::pin(async { drop(input.await) }))
}
