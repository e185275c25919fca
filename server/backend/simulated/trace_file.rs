//! Reads a recorded trace (`cardbroker trace --data -o FILE`): the cards of each reader in it, and their commands.
//!
//! The file has one JSON object a line. Its keys are those of the client; `proto/conformance/trace.jsonl` has one of
//! each line. Unknown keys and events are ignored.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use cardbroker_core::{
    apdu::ApduBytes,
    simulated_card::{RecordedCard, Recording, Step, StepContent},
    slot::Protocol,
};
use cardbroker_local::open::open_without_waiting;
use serde::Deserialize;

use crate::backend::MAX_RESPONSE_BYTES;

/// The version of the format that this module reads.
const VERSION: u32 = 1;

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The longest line, in bytes: the longest command and answer in hexadecimal, and room for the rest.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The most readers in a file.
const MAX_READERS: usize = 256;

/// Why a recorded trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceFileError {
    /// The file is missing or cannot be read.
    #[error("{}: cannot read the trace: {source}", path.display())]
    Read {
        /// The path of the trace.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file as a whole cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The path of the trace.
        path: PathBuf,
        /// The problem of the file.
        problem: &'static str,
    },
    /// A line cannot be used. Does not quote it.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The path of the trace.
        path: PathBuf,
        /// The number of the line, counted from 1.
        line: u64,
        /// The problem of the line.
        problem: String,
    },
}

/// The cards of each reader, by the reader's id, in the order of their insertions.
pub(super) type RecordedReaders = BTreeMap<String, Vec<RecordedCard>>;

/// Reads the file at `path`.
///
/// # Errors
/// [`TraceFileError`] with the first line that cannot be used.
pub(super) fn read(path: &Path) -> Result<RecordedReaders, TraceFileError> {
    let failed = |source| TraceFileError::Read { path: path.into(), source };
    let file = open_without_waiting(path).map_err(failed)?;
    let unusable = |problem| TraceFileError::File { path: path.into(), problem };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(unusable("is not a regular file"));
    }
    if found.len() > MAX_FILE_BYTES {
        return Err(unusable("is larger than 64 MiB: trace a shorter time, or fewer readers"));
    }
    parse(BufReader::new(file.take(MAX_FILE_BYTES)), path)
}

/// Parses the lines of `input`; errors name `path` as its file.
pub(super) fn parse(mut input: impl BufRead, path: &Path) -> Result<RecordedReaders, TraceFileError> {
    let mut readers = Readers::default();
    let mut bytes = Vec::new();
    for line in 1_u64.. {
        let mistake = |problem: String| TraceFileError::Line { path: path.into(), line, problem };
        bytes.clear();
        let length = input
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| TraceFileError::Read { path: path.into(), source })?;
        if length == 0 {
            break;
        }
        if length as u64 > MAX_LINE_BYTES {
            return Err(mistake("is longer than 1 MiB".into()));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        // Without the parser's own message, which may quote the line.
        let event: Event = serde_json::from_slice(&bytes).map_err(|_| mistake("is not an event of a trace".into()))?;
        readers.on_event(line, event).map_err(mistake)?;
    }
    let readers: RecordedReaders = readers.0.into_iter().map(|(id, reader)| (id, reader.recording.finish())).collect();
    if readers.is_empty() {
        return Err(TraceFileError::File { path: path.into(), problem: "has no event of a reader" });
    }
    Ok(readers)
}

/// A line of the file, as far as a replay needs it.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    TraceBegan {
        version: u32,
    },
    /// Events are missing before the next line.
    Missed {},
    Command {
        #[serde(flatten)]
        at: At,
        /// Whether it comes from the broker's recorder, which keeps no data.
        is_recorded: bool,
        header: Option<String>,
        failed: bool,
        command: Option<String>,
        response: Option<String>,
    },
    /// `card_present`: the card in the reader when the trace began.
    #[serde(alias = "card_present")]
    CardInserted {
        #[serde(flatten)]
        at: At,
        insertion_id: String,
        atr: String,
        protocol: Option<String>,
    },
    CardRemoved {
        #[serde(flatten)]
        at: At,
    },
    /// An event without an effect on the replay: the broker resets cards by itself, and a client asks for its own
    /// turns.
    #[serde(alias = "turn_ended", alias = "reset", alias = "denial", alias = "not_served")]
    TurnBegan {
        #[serde(flatten)]
        at: At,
    },
    #[serde(other)]
    Unknown,
}

/// The place of an event.
#[derive(Deserialize)]
struct At {
    reader: String,
    /// The number of the event at its reader; `None` for a line that the client adds.
    number: Option<i64>,
}

/// The readers of the file so far, by their ids.
#[derive(Default)]
struct Readers(BTreeMap<String, Reader>);

/// A reader of the file so far.
#[derive(Default)]
struct Reader {
    recording: Recording,
    /// The number of its last event.
    last: Option<i64>,
    /// Whether events of any reader are missing since then.
    may_miss: bool,
}

impl Readers {
    fn on_event(&mut self, line: u64, event: Event) -> Result<(), String> {
        match event {
            Event::TraceBegan { version: VERSION } | Event::Unknown => {}
            Event::TraceBegan { version } => {
                return Err(format!("format {version}; this program reads format {VERSION}"));
            }
            Event::Missed {} => self.0.values_mut().for_each(|reader| reader.may_miss = true),
            Event::TurnBegan { at } => drop(self.at(line, &at)?),
            Event::CardRemoved { at } => self.at(line, &at)?.on_removed(),
            Event::CardInserted { at, insertion_id, atr, protocol } => {
                let atr = bytes("atr", &atr)?;
                if !(atr.is_empty() || (2..=33).contains(&atr.len())) {
                    return Err("atr: must have 2 to 33 bytes".into());
                }
                let protocol = protocol.as_deref().map(self::protocol).transpose()?;
                self.at(line, &at)?.on_card(&insertion_id, atr, protocol);
            }
            Event::Command { at, is_recorded: true, .. } => drop(self.at(line, &at)?),
            Event::Command { at, header, failed, command, response, .. } => {
                let content = content(header.as_deref(), failed, command.as_deref(), response.as_deref())?;
                self.at(line, &at)?.on_command(Step { line, content });
            }
        }
        Ok(())
    }

    /// Returns the recording of the reader of an event, with a gap if events of the reader are missing before it.
    fn at(&mut self, line: u64, at: &At) -> Result<&mut Recording, String> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let id = at.reader.strip_prefix("readers/").filter(|id| !id.is_empty() && id.bytes().all(allowed));
        let id = id.ok_or("reader: must be readers/ and an id of lower-case letters, digits and hyphens")?;
        if self.0.len() >= MAX_READERS && !self.0.contains_key(id) {
            return Err(format!("more than {MAX_READERS} readers"));
        }
        let reader = self.0.entry(id.to_owned()).or_default();
        if let Some(number) = at.number {
            let follows = reader.last.and_then(|last| last.checked_add(1)) == Some(number);
            if std::mem::take(&mut reader.may_miss) && !follows {
                reader.recording.on_gap(line);
            }
            reader.last = Some(number);
        }
        Ok(&mut reader.recording)
    }
}

/// The facts in the line of a command.
fn content(
    header: Option<&str>,
    failed: bool,
    command: Option<&str>,
    response: Option<&str>,
) -> Result<StepContent, String> {
    let (command, response) = match (command, response) {
        (Some(command), Some(response)) => (command, Some(response)),
        (Some(command), None) if failed => (command, None),
        _ => {
            let header = header.map(|header| bytes("header", header)).transpose()?;
            let header = header.map(|header| <[u8; 4]>::try_from(header).map_err(|_| "header: must have 4 bytes"));
            return Ok(StepContent::Masked { header: header.transpose()? });
        }
    };
    let command = ApduBytes::from(bytes("command", command)?);
    let response = response.map(|response| bytes("response", response)).transpose()?.map(ApduBytes::from);
    match &response {
        Some(response) if !(2..=MAX_RESPONSE_BYTES).contains(&response.len()) => {
            Err(format!("response: must have 2 to {MAX_RESPONSE_BYTES} bytes"))
        }
        _ => Ok(StepContent::Whole { command, response }),
    }
}

/// The bytes of the value of a key.
fn bytes(key: &str, digits: &str) -> Result<Vec<u8>, String> {
    hex::decode(digits).map_err(|_| format!("{key}: must be hexadecimal digits, two for each byte"))
}

fn protocol(name: &str) -> Result<Protocol, String> {
    match name {
        "T0" => Ok(Protocol::T0),
        "T1" => Ok(Protocol::T1),
        "RAW" => Ok(Protocol::Raw),
        _ => Err("protocol: must be T0, T1 or RAW".into()),
    }
}

#[cfg(test)]
mod tests;
