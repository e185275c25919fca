//! The input of a session: lines from a prompt or from a script, and their parsing.

use std::{
    io::{self, BufRead, Read, Write},
    thread,
};

use cardbroker_client::{ApduBytes, CardReset, MAX_RAW_BYTES};
use rustyline::{Config, Editor, ExternalPrinter, error::ReadlineError, history::MemHistory};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::units::parse_one;

/// The longest line of a script: the longest APDU with two separators after each byte.
const MAX_LINE_BYTES: usize = 4 * MAX_RAW_BYTES;

const MAX_HISTORY_LINES: usize = 1000;

/// The meaning of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Apdu(ApduBytes),
    Reset(CardReset),
    Help,
    Quit,
    /// An empty line, or a comment after `#`.
    Nothing,
}

/// Parses one line of a prompt or script.
///
/// # Errors
/// The mistake and its position, without the text of the line.
pub(super) fn parse(line: &str, raw: bool) -> Result<Input, String> {
    Ok(match line.trim() {
        "" => Input::Nothing,
        comment if comment.starts_with('#') => Input::Nothing,
        "reset" => Input::Reset(CardReset::Warm),
        "cold" => Input::Reset(CardReset::Cold),
        "help" => Input::Help,
        "quit" => Input::Quit,
        _ => Input::Apdu(parse_one(line, raw)?),
    })
}

type Line = io::Result<Zeroizing<String>>;

/// Writes above the prompt while a person edits a line.
pub(super) struct Announcer(Option<Box<dyn ExternalPrinter + Send>>);

impl Announcer {
    /// Writes one line: above the prompt, or to `err` if the terminal cannot do that.
    pub(super) fn announce(&mut self, line: &str, err: &mut dyn Write) -> io::Result<()> {
        match &mut self.0 {
            Some(printer) => printer.print(format!("{line}\n")).map_err(io::Error::other),
            None => writeln!(err, "{line}"),
        }
    }
}

/// Lines, read by a thread of their own because reading blocks. The thread reads one line for each request, and ends
/// with the input or with the process.
pub(super) struct Lines {
    prompts: mpsc::Sender<String>,
    lines: mpsc::Receiver<Line>,
}

impl Lines {
    /// Lines that a person edits, with a history in memory only: it may contain PINs.
    pub(super) async fn prompted() -> io::Result<(Self, Announcer)> {
        let (told, printer) = oneshot::channel();
        let lines = Self::start(|asked, lines| {
            let mut editor = editor()?;
            let printer = editor.create_external_printer().ok();
            let _ = told.send(printer.map(|printer| Box::new(printer) as Box<dyn ExternalPrinter + Send>));
            while let Some(prompt) = asked.blocking_recv() {
                let line = match editor.readline(&prompt) {
                    Ok(line) => Zeroizing::new(line),
                    Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
                    Err(error) => return Err(io::Error::other(error)),
                };
                if lines.blocking_send(Ok(line)).is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        // Without an editor the first line is its error.
        Ok((lines, Announcer(printer.await.ok().flatten())))
    }

    /// Lines of standard input as they are; prompts are not shown.
    pub(super) fn script() -> io::Result<Self> {
        Self::start(|asked, lines| {
            let mut stdin = io::stdin().lock();
            while asked.blocking_recv().is_some() {
                let Some(line) = read_line(&mut stdin)? else { break };
                if lines.blocking_send(Ok(line)).is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn start(
        read: impl FnOnce(&mut mpsc::Receiver<String>, &mpsc::Sender<Line>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (prompts, mut asked) = mpsc::channel(1);
        let (told, lines) = mpsc::channel(1);
        thread::Builder::new().name("input".to_owned()).spawn(move || {
            if let Err(error) = read(&mut asked, &told) {
                // If the receiver is gone, nobody needs the line.
                let _ = told.blocking_send(Err(error));
            }
        })?;
        Ok(Self { prompts, lines })
    }

    /// The next line; `None` at the end of the input. A dropped call loses a line.
    pub(super) async fn next(&mut self, prompt: String) -> io::Result<Option<Zeroizing<String>>> {
        // When the thread has ended, the other channel holds its error.
        let _ = self.prompts.send(prompt).await;
        self.lines.recv().await.transpose()
    }
}

fn editor() -> io::Result<Editor<(), MemHistory>> {
    let config = Config::builder().auto_add_history(true).max_history_size(MAX_HISTORY_LINES);
    let config = config.map_err(io::Error::other)?.build();
    let history = MemHistory::with_config(&config);
    Editor::with_history(config, history).map_err(io::Error::other)
}

fn read_line(input: &mut impl BufRead) -> io::Result<Option<Zeroizing<String>>> {
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut line = Zeroizing::new(String::with_capacity(MAX_LINE_BYTES + 1));
    match input.take(MAX_LINE_BYTES as u64 + 1).read_line(&mut line)? {
        0 => Ok(None),
        1..=MAX_LINE_BYTES => Ok(Some(line)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than the longest APDU")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_word_an_apdu_or_nothing() {
        assert_eq!(parse(" 00 A4:04 0c\n", false), Ok(Input::Apdu([0x00, 0xA4, 0x04, 0x0C].into())));
        assert_eq!(parse("reset\r\n", false), Ok(Input::Reset(CardReset::Warm)));
        assert_eq!(parse("cold", false), Ok(Input::Reset(CardReset::Cold)));
        assert_eq!((parse(" \n", false), parse("# 00A4", false)), (Ok(Input::Nothing), Ok(Input::Nothing)));
        assert_eq!(parse("00 A4 04 ~C", false), Err("not a hexadecimal digit at position 10".to_owned()));
        assert_eq!(parse("00A4", false), Err("2 bytes; an APDU has 4 to 65544".to_owned()));
    }

    #[test]
    fn a_script_is_read_by_lines_of_limited_length() {
        let mut input = "00A4040C\n\nreset".as_bytes();
        let mut next = || read_line(&mut input).unwrap().map(|line| line.to_string());
        assert_eq!(
            std::array::from_fn(|_| next()),
            [Some("00A4040C\n".into()), Some("\n".into()), Some("reset".into()), None]
        );
        assert!(read_line(&mut "0".repeat(MAX_LINE_BYTES + 1).as_bytes()).is_err());
    }
}
