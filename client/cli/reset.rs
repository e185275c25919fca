//! `cardbroker reset`: resets the card in a reader.

use std::time::Duration;

use cardbroker_client::{CardReset, Client, Disposition, hex};
use clap::Args;
use humantime::parse_duration;
use serde_json::json;

use super::{Failure, Screen, completion, end, json::write_line, select::find};

/// Reset the card in a reader, and print its answer to reset. Waits for its turn.
///
/// A reset ends everything that programs have left in the card: verified PINs and selected applications. Needs the
/// permissions session, leave and reset.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ResetArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    /// Cut the card's power (cold reset).
    #[arg(long)]
    cold: bool,
    /// How long to wait for the turn. [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait_timeout: Option<Duration>,
}

const HELP: &str = "\
Examples:
  cardbroker reset yubikey
  cardbroker reset yubikey --cold";

pub(crate) async fn run(
    client: &Client,
    arguments: ResetArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let reset = if arguments.cold { CardReset::Cold } else { CardReset::Warm };
    let (name, session) = end::before_sending(async {
        let name = find(client, &arguments.reader).await?.name;
        // The card is as the reset leaves it: another one would be of no use.
        let mut request = client.open_session(&name).disposition(Disposition::Leave);
        if let Some(timeout) = arguments.wait_timeout {
            request = request.wait_timeout(timeout);
        }
        let session = request.open().await?;
        Ok((name, session))
    })
    .await?;
    let reset = end::while_sending(async {
        let atr = session.reset(reset).send().await?;
        session.close().await.map(|()| atr)
    });
    let atr = hex::format(&reset.await??);
    match json {
        true => write_line(screen.out, &json!({ "reader": name, "atr": atr, "is_cold": arguments.cold }))?,
        false => writeln!(screen.out, "{name} was reset, ATR {atr}")?,
    }
    Ok(())
}
