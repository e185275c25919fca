//! The endpoint file on Windows: in the folder of the user's files, with owner and access list; and processes by the
//! system's table.

use std::{fs::File, path::Path};

use cardbroker_pipe::{ProcessState, process_state};

use super::failed;
use crate::{
    config_folder::ConfigFolder,
    discovery::Finding,
    endpoint_file::{FILE_NAME, Lookup},
    private_file::{self, PrivateFileError},
    socket::Place,
    trust::Distrust,
};

/// The place of this user's endpoint file: beside the user's tokens and certificate.
pub fn endpoint_place() -> Place {
    Place { path: ConfigFolder::of_this_user().path().join(FILE_NAME), is_own: true }
}

/// Opens the file, which this user, SYSTEM and the administrators alone can read or change. The folders on the way to
/// it do not matter: another user's file has another owner.
pub(super) fn open(place: &Place) -> Result<File, Finding> {
    let path: &Path = &place.path;
    private_file::open(path).map_err(|error| match error {
        PrivateFileError::Io(error) => failed(&error, path),
        PrivateFileError::NotRegular => Finding::Untrusted(Distrust::NoFile(path.into())),
        error => Finding::Untrusted(Distrust::SharedFile(path.into(), error.to_string())),
    })
}

/// Looks a process up. Where the system does not tell, the process counts as running.
pub(super) fn look_up(pid: u32) -> Lookup {
    match process_state(pid) {
        Ok(ProcessState::Ended) => Lookup::Ended,
        Ok(ProcessState::Running { started }) => Lookup::Running { start_time: started },
        Err(_) => Lookup::Running { start_time: None },
    }
}
