//! Searches the memory of another process for bytes that must not be there. Linux only, like the tests.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
};

use anyhow::Context;
use memchr::memmem;
use rustix::process::Pid;

/// How much is read at a time, in bytes; the readings overlap, so that a find may cross their border.
const CHUNK_BYTES: u64 = 1 << 20;
const OVERLAP_BYTES: u64 = 256;

/// How many bytes around a find are shown.
const AROUND_BYTES: usize = 24;

/// Returns the resident memory of a process, in bytes.
///
/// # Errors
/// The process has ended.
pub fn resident_bytes(pid: Pid) -> anyhow::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// Returns the peak of a process's resident memory, in bytes.
///
/// # Errors
/// The process has ended.
pub fn most_resident_bytes(pid: Pid) -> anyhow::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Returns the proportional part (PSS) of a process's resident memory, in bytes; `None` if only root may read it, and
/// this process is not root's.
///
/// # Errors
/// The process has ended.
pub fn proportional_bytes(pid: Pid) -> anyhow::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        rollup => kibibytes(&rollup?, "Pss:").map(Some),
    }
}

fn status_bytes(pid: Pid, key: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    kibibytes(&status, key)
}

/// Returns the amount in the line of `key`, which is in KiB, in bytes.
fn kibibytes(status: &str, key: &str) -> anyhow::Result<u64> {
    let line = status.lines().find(|line| line.starts_with(key)).with_context(|| format!("no {key}"))?;
    Ok(1024 * line.split_whitespace().nth(1).context("no number")?.parse::<u64>()?)
}

/// The memory of a running process.
pub struct Memory {
    pid: Pid,
    memory: File,
}

impl Memory {
    /// Opens the memory of the process `pid`; `None` if only root may read it, as with a process that is not dumpable,
    /// and this process is not root's.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: Pid) -> anyhow::Result<Option<Self>> {
        match File::open(format!("/proc/{}/mem", pid.as_raw_nonzero())) {
            Ok(memory) => Ok(Some(Self { pid, memory })),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error).context("no such process"),
        }
    }

    /// Searches the readable private regions, heaps and stacks among them, for `needles`. Each find has the region's
    /// name, the offset from its begin, and the bytes around it.
    ///
    /// # Errors
    /// The process has ended.
    pub fn find(&self, needles: &[&[u8]]) -> anyhow::Result<Vec<String>> {
        let finders: Vec<_> = needles.iter().map(memmem::Finder::new).collect();
        let (mut found, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES as usize]);
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid.as_raw_nonzero()))?;
        for (region, name) in maps.lines().filter_map(private_region) {
            let mut at = region.start;
            while at < region.end {
                let wanted = CHUNK_BYTES.min(region.end - at) as usize;
                // A region may disappear during the search, and the kernel's own cannot be read.
                let Ok(read) = self.memory.read_at(&mut chunk[..wanted], at) else { break };
                let text = &chunk[..read];
                for position in finders.iter().flat_map(|finder| finder.find_iter(text)) {
                    let around = position.saturating_sub(AROUND_BYTES)..(position + AROUND_BYTES).min(read);
                    let offset = at - region.start + position as u64;
                    found.push(format!("{name}+{offset:#x}: {}", text[around].escape_ascii()));
                }
                let last = at + read as u64 >= region.end;
                at += if last || read == 0 { CHUNK_BYTES } else { (read as u64).saturating_sub(OVERLAP_BYTES).max(1) };
            }
        }
        Ok(found)
    }
}

/// The addresses and the name of a line of `/proc/PID/maps`, if the region is private and readable.
fn private_region(line: &str) -> Option<(Range<u64>, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let name = fields.nth(3).unwrap_or("anonymous");
    let address = |digits| u64::from_str_radix(digits, 16).ok();
    (permissions.starts_with('r') && permissions.ends_with('p')).then_some((address(start)?..address(end)?, name))
}
