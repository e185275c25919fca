//! Programs that run once: their output and exit codes.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cardbroker_client::GROUP_VARIABLE;
use cardbroker_proto::{ENDPOINT_VARIABLE, TOKEN_FILE_VARIABLE};

use super::{LONGEST, builds::program};

/// The end of a program, and its output.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The whole standard output as text.
    pub out: String,
    /// The whole standard error as text.
    pub err: String,
}

/// Runs the command line, `cardbroker`, with the broker at `endpoint`.
///
/// # Errors
/// The program cannot be built.
pub fn cardbroker(endpoint: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(program("cardbroker")?);
    command.env(ENDPOINT_VARIABLE, endpoint).env_remove(GROUP_VARIABLE).env_remove(TOKEN_FILE_VARIABLE).args(arguments);
    Ok(command)
}

/// Runs a program to its end, with empty standard input.
///
/// # Errors
/// The program cannot be started, its output is not text, or it has not ended after 30 s.
pub fn run(command: &mut Command) -> anyhow::Result<Run> {
    run_with_input(command, "")
}

/// Runs a program to its end, with `input` on its standard input.
///
/// # Errors
/// The errors of [`run`].
pub fn run_with_input(command: &mut Command, input: &str) -> anyhow::Result<Run> {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdin, input) = (process.stdin.take().context("no standard input")?, input.to_owned());
    // A program that has read enough may close the pipe.
    thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = text_of(process.stdout.take().context("no standard output")?);
    let err = text_of(process.stderr.take().context("no standard error")?);
    let status = wait(&mut process, LONGEST)?;
    let text =
        |reader: JoinHandle<std::io::Result<String>>| reader.join().ok().context("no reader")?.context("no text");
    Ok(Run { code: status.code(), out: text(out)?, err: text(err)? })
}

/// Waits until a process has ended; kills it if that takes longer than `limit`.
///
/// # Errors
/// It took longer than `limit`.
pub fn wait(process: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            process.kill()?;
            process.wait()?;
            bail!("the program has not ended after {limit:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn text_of(mut stream: impl Read + Send + 'static) -> JoinHandle<std::io::Result<String>> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    })
}
