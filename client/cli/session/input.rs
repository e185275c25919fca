//! The input of a session: lines from a prompt or from a script, each read when it is asked for.

use std::{
    io::{self, BufRead, Read, Write},
    thread,
};

use cardbroker_client::MAX_RAW_BYTES;
use rustyline::{ExternalPrinter, error::ReadlineError};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::editor::Prompt;

/// The longest line of a script: the longest APDU with two separators after each byte, and a comment.
const MAX_LINE_BYTES: usize = 4 * MAX_RAW_BYTES;

type Line = io::Result<Zeroizing<String>>;

/// A request for one line.
pub(super) enum Ask {
    /// A line after this prompt.
    Line(String),
    /// A line after this prompt that is not shown while it is typed.
    Hidden(String),
}

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
    prompts: mpsc::Sender<Ask>,
    lines: mpsc::Receiver<Line>,
}

impl Lines {
    /// Lines that a person edits. Those that the prompt keeps are in memory only.
    pub(super) async fn prompted(raw: bool) -> io::Result<(Self, Announcer)> {
        let (told, printer) = oneshot::channel();
        let lines = Self::start(move |asked, lines| {
            let mut prompt = Prompt::new(raw)?;
            let _ = told.send(prompt.printer());
            while let Some(ask) = asked.blocking_recv() {
                let line = match prompt.read(&ask) {
                    Ok(line) => line,
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
        read: impl FnOnce(&mut mpsc::Receiver<Ask>, &mpsc::Sender<Line>) -> io::Result<()> + Send + 'static,
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
    pub(super) async fn next(&mut self, ask: Ask) -> io::Result<Option<Zeroizing<String>>> {
        // When the thread has ended, the other channel holds its error.
        let _ = self.prompts.send(ask).await;
        self.lines.recv().await.transpose()
    }
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
