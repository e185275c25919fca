//! The endpoint file on this machine: its place, and reading it where no other user decides what is in it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::process::{Pid, geteuid, test_kill_process};
use zeroize::Zeroizing;

use crate::{
    discovery::Finding,
    endpoint_file::{EndpointFile, EndpointFileError, FILE_NAME, Lookup, MAX_BYTES, Process, lookup_in},
    open::open_without_following,
    socket::{Place, own_place},
    trust::{Distrust, walk},
};

/// The permission bits that give the group or everybody else access.
const OTHERS: u32 = 0o077;

/// The place of this user's endpoint file: beside the socket of the user's own broker.
pub fn endpoint_place() -> Place {
    let Place { path: socket, is_own } = own_place();
    Place { path: socket.with_file_name(FILE_NAME), is_own }
}

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

/// Reads the endpoint file at `place`, which this user alone can read or change, as the folders on the way to it.
///
/// # Errors
/// The errors of [`read_running`] but [`Finding::Ended`].
pub fn read(place: &Place) -> Result<EndpointFile, Finding> {
    let path = &place.path;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Finding::NoEndpointFile(path.clone()),
        _ => Finding::of(&error, Some(path)),
    };
    let user = geteuid().as_raw();
    walk(place, user).map_err(|obstacle| match Finding::of_walk(obstacle, place) {
        Finding::Missing => Finding::NoEndpointFile(path.clone()),
        finding => finding,
    })?;
    let file = open_without_following(path).map_err(failed)?;
    check(&file, path, user).map_err(failed)?.map_err(Finding::Untrusted)?;
    let malformed = |problem| Finding::Malformed { file: path.clone(), problem };
    let bytes = read_bytes(file).map_err(failed)?.ok_or_else(|| malformed(EndpointFileError::TooLong))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed(EndpointFileError::NoObject))?;
    EndpointFile::parse(text).map_err(malformed)
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

/// Looks a process up in `/proc`, or without that by a signal that is not sent.
fn look_up(pid: u32) -> Lookup {
    let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(known) = known.filter(|pid| test_kill_process(*pid) != Err(rustix::io::Errno::SRCH)) else {
        return Lookup::Ended;
    };
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", known.as_raw_nonzero())).unwrap_or_default();
    lookup_in(&stat).unwrap_or(Lookup::Running { start_time: None })
}

fn check(file: &File, path: &Path, user: u32) -> io::Result<Result<(), Distrust>> {
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    Ok(if !found.is_file() {
        Err(Distrust::NoFile(path.into()))
    } else if found.uid() != user {
        Err(Distrust::ForeignFile(path.into(), found.uid()))
    } else if mode & OTHERS != 0 {
        Err(Distrust::OpenFile(path.into(), mode))
    } else {
        Ok(())
    })
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
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process { pid: child.id(), start_time: None };
        assert!(!has_ended(process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(process));
    }
}
