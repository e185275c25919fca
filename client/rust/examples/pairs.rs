//! One program of the demo: runs pairs of SELECT and GET RESPONSE on a simulated card and counts the broken ones. The
//! answer that SELECT offers (61 xx) is lost (6D 00) if any other command reaches the card before GET RESPONSE.

use std::io::{self, Write};

use cardbroker_client::{Client, Command, Error, Transmit};
use clap::Parser;

/// SELECT of the application F0 "CARD" 01.
const SELECT: [u8; 12] = [0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, b'C', b'A', b'R', b'D', 0x01, 0x00];
/// GET RESPONSE with an Le of 19 bytes.
const GET_RESPONSE: [u8; 5] = [0x00, 0xC0, 0x00, 0x00, 0x13];

/// Counts the broken pairs; prints how many of how many.
#[derive(Parser)]
struct Arguments {
    /// The name of the reader: readers/{id}.
    reader: String,
    /// How many pairs to run.
    pairs: u32,
    #[command(flatten)]
    manner: Manner,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Manner {
    /// Ask for both commands of a pair as one unit.
    #[arg(long)]
    as_unit: bool,
    /// Ask for SELECT alone and let the broker fetch the answer.
    #[arg(long)]
    completed: bool,
    /// Ask for each command by itself.
    #[arg(long)]
    single: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { reader, pairs, manner } = Arguments::parse();
    let client = Client::connect_default().await?;
    let unit = || client.transmit(&reader);
    let mut broken = 0;
    for _ in 0..pairs {
        let last_word = if manner.as_unit {
            last_word(unit().command(raw(&SELECT)).command(raw(&GET_RESPONSE))).await?
        } else if manner.completed {
            last_word(unit().command(SELECT)).await?
        } else {
            // Raw: otherwise the broker fetches the answer itself, within the same turn.
            last_word(unit().command(raw(&SELECT))).await?;
            last_word(unit().command(raw(&GET_RESPONSE))).await?
        };
        broken += u32::from(last_word != Some(0x9000));
    }
    writeln!(io::stdout(), "{broken} of {pairs} pairs broken")?;
    Ok(())
}

fn raw(apdu: &[u8]) -> Command {
    Command::new(apdu).raw()
}

/// The status word of the unit's last command; `None` if the unit stopped before it.
async fn last_word(unit: Transmit) -> Result<Option<u16>, Error> {
    match unit.send().await {
        Ok(answered) => Ok(answered.results.last().map(|result| result.status_word)),
        Err(Error::Stopped { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
