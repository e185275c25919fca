//! The endpoint file on this machine: its place, and reading it where no other user decides what is in it.

use std::{
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{
    discovery::Finding,
    endpoint_file::{EndpointFile, EndpointFileError, Lookup, MAX_BYTES, Process},
    socket::Place,
};

#[cfg(unix)]
#[path = "unix.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;

pub use self::os::endpoint_place;
use self::os::{look_up, open};

/// Reads the endpoint file at `place` of a broker that runs.
///
/// # Errors
/// [`Finding::NoEndpointFile`] and [`Finding::Ended`] if a broker may come; [`Finding::Untrusted`],
/// [`Finding::Malformed`] or another one.
pub fn read_running(place: &Place) -> Result<EndpointFile, Finding> {
    let file = read(place)?;
    match has_ended(file.broker) {
        true => Err(Finding::Ended { file: place.path.clone(), pid: file.broker.pid }),
        false => Ok(file),
    }
}

/// Reads the endpoint file at `place`, which this user alone can read or change.
///
/// # Errors
/// The errors of [`read_running`] but [`Finding::Ended`].
pub fn read(place: &Place) -> Result<EndpointFile, Finding> {
    let path = &place.path;
    let malformed = |problem| Finding::Malformed { file: path.clone(), problem };
    let bytes = read_bytes(open(place)?).map_err(|error| failed(&error, path))?;
    let bytes = bytes.ok_or_else(|| malformed(EndpointFileError::TooLong))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed(EndpointFileError::NoObject))?;
    EndpointFile::parse(text).map_err(malformed)
}

/// The finding for an error at the file.
fn failed(error: &io::Error, path: &Path) -> Finding {
    match error.kind() {
        io::ErrorKind::NotFound => Finding::NoEndpointFile(path.into()),
        _ => Finding::of(error, Some(path)),
    }
}

/// The whole content of a file; `None` if it is too long.
fn read_bytes(file: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

/// Whether a process of this machine has ended.
pub fn has_ended(process: Process) -> bool {
    process.has_ended(look_up)
}

/// This process, as an endpoint file names it.
pub fn this_process() -> Process {
    let pid = std::process::id();
    match look_up(pid) {
        Lookup::Running { start_time } => Process { pid, start_time },
        Lookup::Ended => Process { pid, start_time: None },
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_not_cut() {
        let mut longest = vec![b' '; MAX_BYTES as usize];
        assert_eq!(read_bytes(&*longest).unwrap().map(|bytes| bytes.len() as u64), Some(MAX_BYTES));
        longest.push(b' ');
        assert_eq!(read_bytes(&*longest).unwrap(), None);
    }

    #[test]
    fn this_process_runs_and_an_ended_one_does_not() {
        let own = this_process();
        assert!(own.start_time.is_some() && !has_ended(own));
        assert!(has_ended(Process { start_time: own.start_time.map(|time| time + 1), ..own }));
        // Both wait for input.
        let program = if cfg!(windows) { "sort" } else { "cat" };
        let mut child = Command::new(program).stdin(Stdio::piped()).spawn().unwrap();
        let process = Process { pid: child.id(), start_time: None };
        assert!(!has_ended(process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(process));
    }
}
