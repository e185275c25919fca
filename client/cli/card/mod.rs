//! `cardbroker card`: a card by its answer to reset, byte by byte, and the applications on it.

mod atr;
mod kind;
mod smartcard_list;
mod text;

pub(crate) use atr::{Atr, life_cycle};
use cardbroker_client::{Client, Reader, hex};
use clap::Args;
pub(crate) use kind::kind;
use serde_json::{Value, json};
pub(crate) use text::protocol_words;

use super::{Failure, Screen, completion, json, layout::Paint, select::find, words::spoken};

/// Explain the card in a reader: its answer to reset, byte by byte, and its kind.
///
/// Sends nothing to the card. Public standards tell the kind; if the system has the list of pcsc-tools
/// (/usr/share/pcsc/smartcard_list.txt), its descriptions of the card follow.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CardArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
}

const HELP: &str = "\
Examples:
  cardbroker card yubikey
  cardbroker card yubikey --json";

/// All that is known of a card without a command.
struct Known {
    reader: Reader,
    atr: Atr,
    kind: Option<String>,
    descriptions: Vec<String>,
}

pub(crate) async fn run(
    client: &Client,
    arguments: CardArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let known = Known::of(find(client, &arguments.reader).await?)?;
    if json {
        return Ok(json::write_line(screen.out, &known.json())?);
    }
    Ok(write!(screen.out, "{}", text::text(&known, Paint::on(screen.terminal)))?)
}

impl Known {
    /// Reads the answer to reset of the card in a reader.
    ///
    /// # Errors
    /// [`Failure::Reader`] if no card has answered a reset.
    fn of(reader: Reader) -> Result<Self, Failure> {
        if reader.atr.is_empty() {
            let state = spoken(&json::state(&reader));
            return Err(Failure::Reader(format!("no card has answered in {} ({state})", reader.name)));
        }
        let atr = Atr::read(&reader.atr);
        Ok(Self { kind: kind(&atr), descriptions: smartcard_list::descriptions(&reader.atr), atr, reader })
    }

    fn json(&self) -> Value {
        let part = |part: &atr::Part| {
            json!({
                "name": json::filled(&part.name),
                "bytes": hex::format(&part.bytes),
                "meaning": part.meaning.iter().map(|line| line.trim_start()).collect::<Vec<_>>(),
            })
        };
        json!({
            "reader": json::reader(&self.reader),
            "kind": self.kind,
            "descriptions": self.descriptions,
            "atr": {
                "bytes": hex::format(&self.reader.atr),
                "protocols": self.atr.protocols.iter().map(|number| format!("T{number}")).collect::<Vec<_>>(),
                "historical_bytes": hex::format(&self.atr.historical),
                "check": self.atr.check.name(),
                "is_contactless": self.atr.is_contactless,
                "parts": self.atr.parts.iter().map(part).collect::<Vec<_>>(),
            },
        })
    }
}
