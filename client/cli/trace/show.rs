//! `cardbroker trace show`: renders a recorded trace as text.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    record::{Line, VERSION},
    text::text,
};
use crate::{Failure, Screen, clock::Clock, words::count};

/// The longest line of a record: the data of the longest command and answer, and room for the rest.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Print a recorded trace as text; needs no broker.
#[derive(Args)]
#[command(after_long_help = "Examples:\n  cardbroker trace show yubikey.jsonl")]
pub(crate) struct ShowArguments {
    /// The file, one event a line, as written by `trace -o FILE`; `-` is standard input.
    file: PathBuf,
}

pub(crate) fn run(arguments: &ShowArguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::Usage(format!("{}: {error}", arguments.file.display()));
    if arguments.file == Path::new("-") {
        return show(io::stdin().lock(), &arguments.file, screen);
    }
    let file = File::open(&arguments.file).map_err(unreadable)?;
    show(BufReader::new(file), &arguments.file, screen)
}

fn show(mut input: impl BufRead, file: &Path, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let clock = Clock::at(None);
    let mut unknown = 0;
    for number in 1_u64.. {
        let mistake = |what: &str| Failure::Usage(format!("{}, line {number}: {what}", file.display()));
        let mut line = String::new();
        let length =
            input.by_ref().take(MAX_LINE_BYTES).read_line(&mut line).map_err(|error| mistake(&error.to_string()))?;
        match length as u64 {
            0 => break,
            MAX_LINE_BYTES if !line.ends_with('\n') => return Err(mistake("longer than any event")),
            _ if line.trim().is_empty() => continue,
            _ => {}
        }
        // Without the parser's own message, which may quote the line.
        let line: Line = serde_json::from_str(&line).map_err(|_| mistake("not an event of a trace"))?;
        match &line {
            Line::TraceBegan { version, .. } if *version != VERSION => {
                return Err(mistake(&format!("format {version}; this program reads format {VERSION}")));
            }
            line => match text(line, &clock) {
                Some(text) => write!(screen.out, "{text}")?,
                None => unknown += 1,
            },
        }
    }
    if unknown > 0 {
        let events = count(unknown, "event");
        writeln!(screen.err, "cardbroker: {events} of a kind that this program does not know")?;
    }
    Ok(())
}
