//! The endpoint file on Unix: beside the socket, with owner and mode; and processes by `/proc`.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::Path};

use rustix::process::{Pid, geteuid, test_kill_process};

use super::failed;
use crate::{
    discovery::Finding,
    endpoint_file::{FILE_NAME, Lookup, lookup_in},
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

/// Opens the file, which this user alone can read or change, as the folders on the way to it.
pub(super) fn open(place: &Place) -> Result<File, Finding> {
    let path = &place.path;
    let user = geteuid().as_raw();
    walk(place, user).map_err(|obstacle| match Finding::of_walk(obstacle, place) {
        Finding::Missing => Finding::NoEndpointFile(path.clone()),
        finding => finding,
    })?;
    let file = open_without_following(path).map_err(|error| failed(&error, path))?;
    check(&file, path, user).map_err(|error| failed(&error, path))?.map_err(Finding::Untrusted)?;
    Ok(file)
}

/// Looks a process up in `/proc`, or without that by a signal that is not sent.
pub(super) fn look_up(pid: u32) -> Lookup {
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
