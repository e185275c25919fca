//! Programs that stories start and end by lines, and the one that saturates a card.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::harness::broker::Broker;

/// A process that is controlled by lines. Dropping kills it.
pub(crate) struct Talker(Child);

impl Talker {
    /// Starts the process and waits for its line `ready`.
    pub(crate) fn start(command: &mut Command, ready: &str) -> anyhow::Result<Self> {
        let mut talker = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::with_capacity(16, talker.0.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        ensure!(line.trim_end() == ready, "it says {line:?}");
        Ok(talker)
    }

    /// Closes its input, which starts or ends its work.
    pub(crate) fn close(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Closes its input and returns the number in its last line.
    pub(crate) fn end(mut self) -> anyhow::Result<u64> {
        self.close();
        let mut number = String::new();
        self.0.stdout.as_mut().context("no output")?.read_to_string(&mut number)?;
        ensure!(self.0.wait()?.success(), "it fails");
        Ok(number.trim().parse()?)
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that keeps one unit of one command at a time at the broker for some seconds, once its input closes, and
/// counts its turns.
pub(crate) fn saturator(
    broker: &Broker,
    reader: &str,
    apdu: &str,
    seconds: u64,
    uid: Option<u32>,
) -> anyhow::Result<Talker> {
    saturator_with(broker, reader, apdu, seconds, uid, &["1"])
}

/// As [`saturator`], with the depth and further options.
pub(crate) fn saturator_with(
    broker: &Broker,
    reader: &str,
    apdu: &str,
    seconds: u64,
    uid: Option<u32>,
    options: &[&str],
) -> anyhow::Result<Talker> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saturator"));
    command.args([reader, apdu, &seconds.to_string()]).args(options).env(ENDPOINT_VARIABLE, broker.endpoint());
    if let Some(uid) = uid {
        command.args(["--uid", &uid.to_string()]);
    }
    Talker::start(&mut command, "ready")
}

/// Starts all programs at once, and returns the number of turns of each.
pub(crate) fn turns(mut programs: Vec<Talker>) -> anyhow::Result<Vec<u64>> {
    programs.iter_mut().for_each(Talker::close);
    programs.into_iter().map(Talker::end).collect()
}
