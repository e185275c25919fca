//! The end of a run: whatever ends it, by whatever signal, none of its processes stays behind.
//!
//! The run is the first process of a pid namespace, so the kernel ends all others of the namespace together with it. It
//! ends itself when the process that the user has started does, because then its standard input ends.

use std::{
    env, io,
    process::{self, Command, ExitCode, Stdio},
    thread,
};

use anyhow::Context as _;
use rustix::process::geteuid;

/// Is set for the process of the run.
const INSIDE: &str = "CARDBROKER_BENCH_INSIDE";

/// The exit code of a run that was cut off.
const CUT_OFF: u8 = 2;

/// Runs `run` in a process of its own; in that process calls it.
///
/// # Errors
/// The errors of `run`, or the program unshare (package util-linux) is missing.
pub(crate) fn supervised(run: impl FnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    if env::var_os(INSIDE).is_some() {
        thread::Builder::new().name("parent".into()).spawn(|| {
            // Lasts until the other end is closed, and nothing is ever written to it.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            process::exit(CUT_OFF.into());
        })?;
        return run();
    }
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(env::current_exe()?);
    unshare.args(env::args_os().skip(1)).env(INSIDE, "1").stdin(Stdio::piped());
    let mut child = unshare.spawn().context("cannot run unshare (package util-linux)")?;
    // `wait` would close it, and end the run.
    let _input = child.stdin.take();
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(CUT_OFF).into())
}
