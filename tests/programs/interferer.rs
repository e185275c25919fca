//! The program `interferer`: a rival for the card that behaves like Windows' smart-card plug and play.

use std::{
    ffi::{CStr, CString},
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};
use serde_json::{Value, json};

/// Interfere with a card at its insertion; the last line reports in JSON how far the program got. Ends when its
/// standard input closes.
#[derive(Parser)]
struct Arguments {
    /// The kind of interference with the card.
    #[arg(value_enum)]
    mode: Mode,
    /// PC/SC's name of the reader.
    reader: String,
    /// How long to interfere after an insertion, in ms.
    #[arg(long, default_value_t = 300)]
    duration_ms: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Hold the empty reader directly (prints "holding"), take the next card from there before anyone else, release it
    /// and end.
    Hold,
    /// Try at every insertion to connect and to send the commands, again and again (prints "racing" at the start, and
    /// the results so far after every insertion).
    Race,
}

/// The commands that Windows sends to a new card: a plug-and-play application, an identifier, PIV, GIDS.
const PROBE: [&[u8]; 4] = [
    b"\x00\xA4\x04\x00\x0B\xA0\x00\x00\x03\x97CIDE\x5F\x01\x00",
    b"\x00\xCA\x7F\x68\x00",
    b"\x00\xA4\x04\x00\x09\xA0\x00\x00\x03\x08\x00\x00\x10\x00",
    b"\x00\xA4\x04\x00\x09\xA0\x00\x00\x03\x97BTFY",
];

/// The pause between two attempts: short enough to win against a program that waits for an event.
const PAUSE: Duration = Duration::from_micros(500);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let reader = CString::new(arguments.reader)?;
    let duration = Duration::from_millis(arguments.duration_ms);
    let context = Context::establish(Scope::System)?;
    let over = watch_standard_input()?;
    let report = match arguments.mode {
        Mode::Hold => hold(&context, &reader, duration, &over),
        Mode::Race => race(&context, &reader, duration, &over),
    }?;
    say(&report)
}

fn say(line: &impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// True once standard input has closed.
fn watch_standard_input() -> io::Result<Arc<AtomicBool>> {
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    thread::Builder::new().name("standard-input".into()).spawn(move || {
        while matches!(io::stdin().read(&mut [0; 64]), Ok(1..)) {}
        flag.store(true, Ordering::Relaxed);
    })?;
    Ok(over)
}

fn hold(context: &Context, reader: &CStr, duration: Duration, over: &AtomicBool) -> anyhow::Result<Value> {
    let mut card = context.connect(reader, ShareMode::Direct, Protocols::UNDEFINED)?;
    say(&"holding")?;
    while card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard).is_err() {
        if over.load(Ordering::Relaxed) {
            return Ok(json!({ "won": false, "resets": 0, "commands": 0, "errors": 0 }));
        }
        thread::sleep(PAUSE);
    }
    let (mut resets, mut commands, mut errors) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < duration && !over.load(Ordering::Relaxed) {
        match card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard) {
            Ok(()) => resets += 1,
            Err(_) => errors += 1,
        }
        match probe(&card) {
            Ok(()) => commands += PROBE.len(),
            Err(_) => errors += 1,
        }
    }
    let_go(card);
    Ok(json!({ "won": true, "resets": resets, "commands": commands, "errors": errors }))
}

fn probe(card: &Card) -> Result<(), Error> {
    let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
    PROBE.iter().try_for_each(|command| card.transmit(command, &mut buffer).map(drop))
}

fn race(context: &Context, reader: &CStr, duration: Duration, over: &AtomicBool) -> anyhow::Result<Value> {
    let (mut insertions, mut attempts, mut connections, mut commands) = (0, 0, 0, 0);
    let report = |insertions: usize, attempts: usize, connections: usize, commands: usize| {
        let counts = [insertions, attempts, connections, commands];
        ["insertions", "attempts", "connections", "commands"].into_iter().zip(counts).collect::<Value>()
    };
    let mut states = [ReaderState::new(reader, State::UNAWARE)];
    context.get_status_change(None, &mut states)?;
    states[0].sync_current_state();
    let mut events = states[0].event_count();
    say(&"racing")?;
    while !over.load(Ordering::Relaxed) {
        match context.get_status_change(Duration::from_millis(100), &mut states) {
            Err(Error::Timeout) => continue,
            changed => changed?,
        }
        states[0].sync_current_state();
        // The state also changes when a program connects or disconnects; only the event count indicates an insertion.
        let came = states[0].event_count() != events && states[0].event_state().contains(State::PRESENT);
        events = states[0].event_count();
        if !came {
            // Wine's PC/SC does not wait for a change.
            thread::sleep(PAUSE);
            continue;
        }
        insertions += 1;
        let start = Instant::now();
        while start.elapsed() < duration && !over.load(Ordering::Relaxed) {
            attempts += 1;
            if let Ok(card) = context.connect(reader, ShareMode::Shared, Protocols::ANY) {
                connections += 1;
                // An error means that another program has reset the card, or that it has left.
                commands += probe(&card).map_or(0, |()| PROBE.len());
                let_go(card);
            }
            thread::sleep(PAUSE);
        }
        say(&report(insertions, attempts, connections, commands))?;
    }
    Ok(report(insertions, attempts, connections, commands))
}

fn let_go(card: Card) {
    // The card may have left already: then there is nothing to release.
    let _ = card.disconnect(Disposition::LeaveCard);
}
