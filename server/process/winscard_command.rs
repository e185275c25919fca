//! `cardbroker doctor --winscard`: the check of this machine's PC/SC, for people at the reader. Needs no broker, and
//! none that holds the readers.

mod pipes;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use cardbroker_local::{system_version::system_version, words::HERE};
use serde_json::json;

use crate::{
    backend::pcsc::check::{Line, Options, Outcome, Output, check},
    process::flags::Exit,
};

const EXAMPLES: &str = "\
Examples:
  cardbroker doctor --winscard
  cardbroker doctor --winscard --no-wait --json";

/// The arguments of the check.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WinscardArguments {
    /// PC/SC's name of the reader to check [default: the first with a card, or else the first].
    #[arg(long, value_name = "NAME")]
    reader: Option<String>,
    /// Skip the steps that need a person at the reader.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for you at each step, 1s-10m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = patience, conflicts_with = "no_wait")]
    wait: Duration,
    /// Write JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// The time that all calls of PC/SC in one step have, besides the waits for a person, until the step counts as hanging.
const STEP_TIME: Duration = Duration::from_secs(30);

/// The most waits for a person in one step.
const HANDS_PER_STEP: u32 = 2;

/// The width of the column with the steps.
const COLUMN: usize = 15;

fn patience(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    if range.contains(&time) { Ok(time) } else { Err("must be 1s to 10m".to_owned()) }
}

impl WinscardArguments {
    /// Makes the check. Lines go to `out` as the steps end, and prompts to `err`.
    pub fn run(&self, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
        // A closed output leaves the exit code alone.
        self.check(out, err).unwrap_or(Exit::Failure).into()
    }

    fn check(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
        let patience = (!self.no_wait).then_some(self.wait);
        let options = Options { reader: self.reader.clone(), patience };
        let (tell, told) = mpsc::channel();
        // Left alone if a call hangs: the process ends soon.
        thread::Builder::new().name("check".into()).spawn(move || {
            // The receiver is gone if the output was closed.
            let is_checked = check(&options, &mut |output| drop(tell.send(Step::Output(output))));
            drop(tell.send(Step::Ended(is_checked)));
        })?;
        let limit = STEP_TIME + patience.unwrap_or_default() * HANDS_PER_STEP;
        let head = format!("cardbroker {}, {}, {}", env!("CARGO_PKG_VERSION"), system(), env::consts::ARCH);
        if !self.json {
            writeln!(out, "{head}")?;
        }
        let mut lines = Vec::new();
        let is_checked = self.follow(&told, limit, &mut lines, out, err)?;
        for line in pipes::lines().into_iter().chain([second_user()]) {
            self.show(line, &mut lines, out)?;
        }
        if self.json {
            let steps: Vec<_> = lines.iter().map(object).collect();
            writeln!(out, "{}", json!({ "system": head, "steps": steps }))?;
        }
        Ok(if is_checked { Exit::Ok } else { Exit::Failure })
    }

    /// Shows the steps until the check has ended or hangs. Returns whether PC/SC could be checked.
    fn follow(
        &self,
        told: &Receiver<Step>,
        limit: Duration,
        lines: &mut Vec<Line>,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<bool> {
        loop {
            match told.recv_timeout(limit) {
                Ok(Step::Output(Output::Prompt(prompt))) => writeln!(err, "> {prompt}")?,
                Ok(Step::Output(Output::Line(line))) => self.show(line, lines, out)?,
                Ok(Step::Ended(is_checked)) => return Ok(is_checked),
                Err(why) => {
                    let last = lines.last().map_or("the start", |line| line.step);
                    let text = match why {
                        RecvTimeoutError::Timeout => format!("a call after the step \"{last}\" does not return"),
                        RecvTimeoutError::Disconnected => format!("the check failed after the step \"{last}\""),
                    };
                    self.show(Line { step: "end", outcome: Outcome::Failed, text }, lines, out)?;
                    return Ok(false);
                }
            }
        }
    }

    fn show(&self, line: Line, lines: &mut Vec<Line>, out: &mut dyn Write) -> io::Result<()> {
        if !self.json {
            writeln!(out, "{:9}{:COLUMN$}{}", line.outcome.name(), line.step, printable(&line.text))?;
            out.flush()?;
        }
        lines.push(line);
        Ok(())
    }
}

/// A message from the thread of the check.
enum Step {
    Output(Output),
    /// The check has ended; `false` if PC/SC could not be checked.
    Ended(bool),
}

fn object(line: &Line) -> serde_json::Value {
    json!({ "step": line.step, "outcome": line.outcome.name(), "text": line.text })
}

/// A text with names of readers, without control characters.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The step that only a person with a second account can try.
fn second_user() -> Line {
    Line::skipped("second user", HERE.try_second_user)
}

/// The system and its version, as far as it tells it.
fn system() -> String {
    let version = system_version().map(|told| printable(told.trim()).chars().take(80).collect::<String>());
    version.filter(|text| !text.is_empty()).unwrap_or_else(|| env::consts::OS.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        winscard: WinscardArguments,
    }

    fn arguments(given: &[&str]) -> Result<WinscardArguments, clap::Error> {
        Arguments::try_parse_from([&["winscard"], given].concat()).map(|arguments| arguments.winscard)
    }

    #[test]
    fn a_check_that_hangs_is_an_end_of_its_own() {
        let check = arguments(&["--no-wait"]).unwrap();
        let (tell, told) = mpsc::channel();
        tell.send(Step::Output(Output::Line(Line::skipped("waits", "a\nb")))).unwrap();
        let (mut lines, mut out) = (Vec::new(), Vec::new());
        let ended = check.follow(&told, Duration::from_millis(20), &mut lines, &mut out, &mut io::sink()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "skipped  waits          a b\nfailed   end            a call after the step \"waits\" does not \
                        return\n";
        assert_eq!((ended, &*text), (false, expected));
        drop(tell);
        assert!(!check.follow(&told, STEP_TIME, &mut lines, &mut io::sink(), &mut io::sink()).unwrap());
        assert!(lines[2].text.starts_with("the check failed"), "{lines:?}");
    }

    #[test]
    fn the_wait_has_a_range() {
        assert!(arguments(&["--wait", "2s"]).is_ok());
        for refused in ["0s", "11m", "soon"] {
            assert!(arguments(&["--wait", refused]).is_err(), "{refused}");
        }
        assert!(arguments(&["--wait", "2s", "--no-wait"]).is_err());
    }
}
