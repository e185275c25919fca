//! Programs beside the broker, run as processes of their own, with the private pcscd in their environment.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{pcscd::Pcscd, run};

/// A program that communicates by lines on its standard output, and ends when its standard input closes. Dropping kills
/// it.
pub struct Program {
    process: Child,
    lines: Receiver<String>,
}

/// The maximum silence between two lines; more is a failure.
const SILENCE: Duration = Duration::from_secs(60);

impl Program {
    /// Starts the program at `path`; its PC/SC is `pcscd`.
    ///
    /// # Errors
    /// An error of the operating system, on starting it.
    pub fn start(path: &str, pcscd: &Pcscd, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(Command::new(path).args(arguments).env("PCSCLITE_CSOCK_NAME", pcscd.socket()))
    }

    /// Starts a program by `command`.
    ///
    /// # Errors
    /// An error of the operating system, on starting it.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let output = process.stdout.take().context("no standard output")?;
        let (sender, lines) = sync_channel(16);
        thread::Builder::new().name("output".into()).spawn(move || {
            // Ends with the program, or when the test has dropped the receiver.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        })?;
        Ok(Self { process, lines })
    }

    /// The id of the program's process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// The program has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.process.id().cast_signed()).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until the program has ended, whatever it prints; returns its exit status.
    ///
    /// # Errors
    /// The program has not ended within 60 s.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        run::wait(&mut self.process, SILENCE)
    }

    /// Writes a line to the program's standard input.
    ///
    /// # Errors
    /// The program has ended.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.process.stdin.as_mut().context("its standard input is closed")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// The next line of the program's output.
    ///
    /// # Errors
    /// The program has ended, or was silent for 60 s.
    pub fn line(&mut self) -> anyhow::Result<String> {
        self.lines.recv_timeout(SILENCE).context("no line from the program")
    }

    /// Closes the program's input, after which it ends.
    pub fn close_input(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Closes the program's input; returns the last line of its output, which is JSON.
    ///
    /// # Errors
    /// The program fails, its last line is not JSON, or it is silent for 60 s.
    pub fn end(mut self) -> anyhow::Result<Value> {
        self.close_input();
        self.report()
    }

    /// Waits until the program ends by itself; returns the last line of its output, which is JSON.
    ///
    /// # Errors
    /// The program fails, its last line is not JSON, or it is silent for 60 s.
    pub fn report(&mut self) -> anyhow::Result<Value> {
        let mut last = None;
        loop {
            match self.lines.recv_timeout(SILENCE) {
                Ok(line) => last = Some(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("the program is silent"),
            }
        }
        let last = last.context("the program printed nothing")?;
        let status = self.process.wait()?;
        ensure!(status.success(), "{status}: {last}");
        Ok(serde_json::from_str(&last)?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
