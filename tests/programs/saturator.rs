//! The program `saturator`: a client that keeps a number of units waiting for the card, and counts its turns.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use cardbroker_client::{Client, Error, ErrorReason, hex};
use cardbroker_tests::harness::users::become_user;
use clap::Parser;
use tokio::task::JoinSet;

/// Print "ready", wait until standard input closes, saturate the card, and print the number of turns.
#[derive(Parser)]
struct Arguments {
    /// The name of the reader: readers/{id}.
    reader: String,
    /// The command of a unit, in hex.
    apdu: String,
    /// How long to run, in s.
    seconds: u64,
    /// How many units wait or run at a time.
    depth: u32,
    /// Become this user first, by uid.
    #[arg(long)]
    uid: Option<u32>,
    /// Ask again a moment later where the queue is full, instead of failing.
    #[arg(long)]
    patient: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(uid) = arguments.uid {
        become_user(uid, uid)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(saturate(arguments))
}

async fn saturate(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { reader, apdu, seconds, depth, patient, .. } = arguments;
    let client = Client::connect_default().await?;
    client.readers().await?;
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut workers = JoinSet::new();
    for _ in 0..depth {
        let unit = client.transmit(&reader).command(hex::parse(&apdu)?);
        workers.spawn(async move {
            let mut turns = 0;
            loop {
                let is_turn = match unit.clone().send().await {
                    Err(error) if patient && error.reason() == Some(ErrorReason::QueueFull) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        false
                    }
                    outcome => outcome.map(|_| true)?,
                };
                if Instant::now() > end {
                    return Ok::<u64, Error>(turns);
                }
                turns += u64::from(is_turn);
            }
        });
    }
    let mut turns = 0;
    while let Some(worker) = workers.join_next().await {
        turns += worker??;
    }
    writeln!(io::stdout(), "{turns}")?;
    Ok(())
}
