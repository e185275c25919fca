//! The program and the files of the service. Nobody but SYSTEM and the administrators may change or replace them:
//! anyone else could act as LocalSystem.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use cardbroker_local::{
    config_folder::ConfigFolder,
    private_file::{excess_for_service, replaceable},
};
use cardbroker_pipe::{Keeper, create_folder};

use super::{program_path::on_drive, registration::Problem};

/// The path of this program for the service: without links, so that it is the one that was checked.
///
/// # Errors
/// [`Problem`] also if others may change or replace the program.
pub(super) fn program() -> Result<PathBuf, Problem> {
    let resolved = env::current_exe().and_then(fs::canonicalize);
    let resolved = resolved.map_err(|error| Problem::of("find this program", &error))?;
    let program = resolved.to_str().and_then(on_drive).map(PathBuf::from).ok_or_else(|| {
        Problem(format!("{} is on no drive of this machine: copy the programs to one", resolved.display()))
    })?;
    match check(&program)? {
        None => Ok(program),
        Some(problem) => Err(Problem(format!(
            "{problem}: others could act as LocalSystem through it: copy the programs to a folder that only \
             administrators can change, such as %ProgramFiles%\\cardbroker"
        ))),
    }
}

/// Makes the folder of the service's files, for SYSTEM and the administrators alone. Refuses one that others may
/// change or replace.
///
/// # Errors
/// [`Problem`].
pub(super) fn prepare_folder() -> Result<(), Problem> {
    let folder = ConfigFolder::of_the_service();
    let folder = folder.path();
    match create_folder(folder, &Keeper::Machine) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Problem::of(&format!("make the folder {}", folder.display()), &error));
        }
        _ => {}
    }
    match check(folder)? {
        None => Ok(()),
        Some(problem) => Err(Problem(format!(
            "{problem}: check the files in {}, and then remove it or set owner and access list (takeown /A /F FOLDER, \
             icacls FOLDER /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F)",
            folder.display()
        ))),
    }
}

/// The problem of a configuration and a tokens file that the service will read, for people. The service itself refuses
/// such a file at its start.
pub(super) fn problem_of_settings(configuration: Option<&Path>, tokens: Option<&Path>) -> Option<String> {
    let files = [configuration.map(|file| (file, false)), tokens.map(|file| (file, true))];
    files.into_iter().flatten().find_map(|(file, is_secret)| {
        let problem = match excess_for_service(file, is_secret) {
            Ok(None) => return None,
            // Without a tokens file there is no token.
            Err(error) if is_secret && error.kind() == io::ErrorKind::NotFound => return None,
            Ok(Some(excess)) => excess,
            Err(error) => format!("cannot be checked: {error}"),
        };
        Some(format!(
            "{} {problem}, and the service runs as LocalSystem: give the file to the administrators (takeown /A /F \
             FILE, icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F)",
            file.display()
        ))
    })
}

/// The problem of a program or a folder of the service, with its path.
fn check(path: &Path) -> Result<Option<String>, Problem> {
    match replaceable(path) {
        Ok(found) => Ok(found.map(|(part, problem)| format!("{} {problem}", part.display()))),
        Err((part, error)) => Err(Problem::of(&format!("check {}", part.display()), &error)),
    }
}
