//! The program `rust-pairs`: the Rust counterpart of the example `pairs` of the clients in other languages.

use std::{
    future::pending,
    io::{self, Write},
    time::{Duration, Instant},
};

use cardbroker_client::{Client, Command, Error, Transmitted, hex};
use clap::Parser;
use serde_json::json;

/// Run pairs of SELECT and GET RESPONSE until the time is over, count the broken ones, and print both numbers. The time
/// begins with the first turn, so that programs that wait for the same card count over the same time.
#[derive(Parser)]
struct Arguments {
    /// The name of the reader: readers/{id}.
    reader: String,
    /// How long to run, in s.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Open a session for each pair instead of sending a unit.
    #[arg(long)]
    session: bool,
    /// Read the file that a verified PIN unlocks instead of fetching the answer.
    #[arg(long)]
    protected: bool,
    /// Open a session, select, print that the card is held, and keep it.
    #[arg(long)]
    hold: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { reader, seconds, session, protected, hold } = Arguments::parse();
    let client = Client::connect_default().await?;
    let select = Command::new(hex::parse("00A4040006F0434152440100")?).raw();
    let second = Command::new(hex::parse(if protected { "00B0810005" } else { "00C0000013" })?).raw();
    if hold {
        let session = client.open_session(reader).open().await?;
        session.transmit([select]).send().await?;
        writeln!(io::stdout(), "{}", json!({"holding": true}))?;
        return pending().await;
    }
    let (mut pairs, mut broken, mut end) = (0, 0, None);
    while end.is_none_or(|end| Instant::now() < end) {
        let pair = [select.clone(), second.clone()];
        let answered = if session {
            in_session(&client, &reader, pair).await
        } else {
            client.transmit(&reader).commands(pair).send().await
        };
        pairs += 1;
        broken += u32::from(!is_whole(answered)?);
        end = end.or_else(|| Some(Instant::now() + Duration::from_secs(seconds)));
    }
    writeln!(io::stdout(), "{}", json!({"pairs": pairs, "broken": broken}))?;
    Ok(())
}

/// Each command by itself, in one session; returns the answer to the second.
async fn in_session(client: &Client, reader: &str, [first, second]: [Command; 2]) -> Result<Transmitted, Error> {
    let session = client.open_session(reader).open().await?;
    session.transmit([first]).send().await?;
    let answered = session.transmit([second]).send().await?;
    session.close().await?;
    Ok(answered)
}

/// Whether the last command was answered with 9000.
fn is_whole(answered: Result<Transmitted, Error>) -> Result<bool, Error> {
    match answered {
        Ok(answered) => Ok(answered.results.last().is_some_and(|result| result.status_word == 0x9000)),
        Err(Error::Stopped { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
