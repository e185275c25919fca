//! `cardbroker card`: a card by its answer to reset, byte by byte, and the applications on it.

mod atr;
mod kind;
mod probe;
mod smartcard_list;
mod text;

use std::time::Duration;

pub(crate) use atr::{Atr, life_cycle};
use cardbroker_client::{Client, Reader, hex};
use clap::Args;
use humantime::parse_duration;
pub(crate) use kind::kind;
use serde_json::{Value, json};
pub(crate) use text::protocol_words;

use super::{Failure, Screen, completion, end, json, layout::Paint, select::find, words::spoken};

/// Explain the card in a reader: its answer to reset, byte by byte, and its kind.
///
/// Sends nothing to the card without --probe. Public standards tell the kind; if the system has the list of pcsc-tools
/// (/usr/share/pcsc/smartcard_list.txt), its descriptions of the card follow.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CardArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    /// Ask the card for its applications (PIV, OpenPGP, OATH, FIDO, EMV, GlobalPlatform, passport, eID, PKCS #15), with
    /// SELECT commands that change nothing. Resets the card before and after; refused while a program has a state on
    /// the card, such as a verified PIN. Needs the permissions transmit and reset.
    #[arg(long)]
    probe: bool,
    /// Also ask a contactless card, which may be that of a person who only passes by.
    #[arg(long, requires = "probe")]
    contactless: bool,
    /// How long --probe waits for its turn. [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "probe")]
    wait_timeout: Option<Duration>,
}

const HELP: &str = "\
Examples:
  cardbroker card yubikey
  cardbroker card yubikey --probe
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
    let CardArguments { reader, probe, contactless, wait_timeout } = arguments;
    let known = Known::of(end::before_sending(find(client, &reader)).await?)?;
    let applications = match probe {
        true => Some(probe::probe(client, &known, contactless, wait_timeout).await?),
        false => None,
    };
    if json {
        let mut told = known.json();
        if let Some(answers) = applications {
            told["applications"] = answers.iter().map(probe::Answer::json).collect();
        }
        return Ok(json::write_line(screen.out, &told)?);
    }
    let paint = Paint::on(screen.terminal);
    let applications = applications.map(|answers| probe::text(&answers, paint)).unwrap_or_default();
    Ok(write!(screen.out, "{}{applications}", text::text(&known, paint))?)
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
