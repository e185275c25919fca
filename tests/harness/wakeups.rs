//! Counts the wake-ups of another process, from the kernel's own count. Linux only, like the tests.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::Pid;

use super::LONGEST;

/// Returns how often a thread of the process has begun to wait so far. Each wait ends with a wake-up, so of an idle
/// process the difference of two counts is the number of its wake-ups.
///
/// # Errors
/// The process has ended, or one of its threads has ended meanwhile.
pub fn waits(pid: Pid) -> anyhow::Result<u64> {
    const KEY: &str = "voluntary_ctxt_switches:";
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).context("no such process")? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let count = status.lines().find_map(|line| line.strip_prefix(KEY)).context("no count of waits")?;
        sum += count.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Waits until the process has not woken up for `quiet`; returns its count of waits.
///
/// # Errors
/// That does not happen within [`LONGEST`].
pub fn until_asleep(pid: Pid, quiet: Duration) -> anyhow::Result<u64> {
    let deadline = Instant::now() + LONGEST;
    let mut last = waits(pid)?;
    loop {
        thread::sleep(quiet);
        let now = waits(pid)?;
        if now == last {
            return Ok(now);
        }
        ensure!(Instant::now() < deadline, "the process wakes up within every {quiet:?}: {} times", now - last);
        last = now;
    }
}
