//! The program `direct-pcsc`: uses a card by PC/SC alone, like programs without a broker.

use std::{
    ffi::{CStr, CString},
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};
use serde_json::{Value, json};

/// Run SELECT/GET RESPONSE pairs over a shared PC/SC connection and print, as one line of JSON, how many were broken.
#[derive(Parser)]
struct Arguments {
    /// PC/SC's name of the reader.
    reader: String,
    /// How many pairs to run.
    #[arg(long, default_value_t = 200)]
    pairs: u32,
    /// Put each pair into a PC/SC transaction.
    #[arg(long)]
    transactions: bool,
    /// Instead of pairs: send these commands (hex; "reset" for a reset) and print the answers, in order.
    #[arg(long, num_args = 1..)]
    send: Vec<String>,
    /// Keep the connection until standard input ends.
    #[arg(long)]
    stay: bool,
}

const SELECT: &[u8] = b"\x00\xA4\x04\x00\x06\xF0CARD\x01";
const GET_RESPONSE: &[u8] = &[0x00, 0xC0, 0x00, 0x00, 0x13];

/// Longer than the driver's polling interval.
const SWAP_TIME: Duration = Duration::from_secs(2);

/// PC/SC's largest message on pcsc-lite.
const MOST_BYTES: usize = 65_548;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let reader = CString::new(arguments.reader)?;
    let context = Context::establish(Scope::System)?;
    wait_for_card(&context, &reader)?;
    let mut card = context.connect(&reader, ShareMode::Shared, Protocols::ANY).context("cannot connect to the card")?;
    let report = if arguments.send.is_empty() {
        pairs(&mut card, arguments.pairs, arguments.transactions)?
    } else {
        arguments.send.iter().map(|command| send(&mut card, command)).collect::<anyhow::Result<_>>()?
    };
    writeln!(io::stdout(), "{report}")?;
    if arguments.stay {
        io::copy(&mut io::stdin(), &mut io::sink())?;
    }
    // Dropping the card would reset it while others use it; a removed card cannot be released.
    let _ = card.disconnect(Disposition::LeaveCard);
    Ok(())
}

fn wait_for_card(context: &Context, reader: &CStr) -> anyhow::Result<()> {
    let mut states = [ReaderState::new(reader, State::UNAWARE)];
    while !states[0].event_state().contains(State::PRESENT) {
        states[0].sync_current_state();
        context.get_status_change(Duration::from_secs(10), &mut states).context("no card in the reader")?;
    }
    Ok(())
}

/// The answer in hex, or PC/SC's error.
fn send(card: &mut Card, command: &str) -> anyhow::Result<String> {
    let result = if command == "reset" {
        reset(card).map(|()| "reset".into())
    } else {
        let bytes: Result<Vec<u8>, _> = (0..command.len())
            .step_by(2)
            .map(|n| u8::from_str_radix(command.get(n..n + 2).unwrap_or("?"), 16))
            .collect();
        let mut buffer = vec![0; MOST_BYTES];
        card.transmit(&bytes?, &mut buffer).map(|answer| answer.iter().map(|byte| format!("{byte:02X}")).collect())
    };
    Ok(result.unwrap_or_else(|error| format!("{error:?}")))
}

/// Resets the card; a swapped one as soon as the driver has noticed.
fn reset(card: &mut Card) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        match card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard) {
            Err(Error::NoSmartcard) if start.elapsed() < SWAP_TIME => thread::sleep(SWAP_TIME / 100),
            result => return result,
        }
    }
}

fn pairs(card: &mut Card, pairs: u32, transactions: bool) -> anyhow::Result<Value> {
    let (mut done, mut broken) = (0u32, 0u32);
    for _ in 0..pairs {
        let whole = if transactions { in_transaction(card) } else { pair(card) };
        match whole {
            Ok(true) => done += 1,
            Ok(false) => broken += 1,
            Err(Error::ResetCard) => {
                broken += 1;
                card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!({ "done": done, "broken": broken }))
}

fn in_transaction(card: &mut Card) -> Result<bool, Error> {
    let transaction = card.transaction()?;
    let whole = pair(&transaction);
    transaction.end(Disposition::LeaveCard).map_err(|(_, error)| error)?;
    whole
}

/// Whether both commands got the answers that they get without interference.
fn pair(card: &Card) -> Result<bool, Error> {
    let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
    if card.transmit(SELECT, &mut buffer)? != [0x61, 0x13] {
        return Ok(false);
    }
    let answer = card.transmit(GET_RESPONSE, &mut buffer)?;
    Ok(answer.len() == 21 && answer.ends_with(&[0x90, 0x00]))
}
