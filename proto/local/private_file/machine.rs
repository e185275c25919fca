//! Files and folders of the machine's service on Windows: judged for the service, in a process of any user.

use std::{
    io,
    path::{Path, PathBuf},
};

use cardbroker_pipe::{access_of_file, owner_of_file, system_folder};

use super::os::{excess_if, open_to_check, told};

/// The problem of a program or a folder that nobody but SYSTEM and the administrators may change or replace, with its
/// path: the file itself, its folder, or one of the folders above. `path` has no link in it, or that is the
/// problem.
///
/// # Errors
/// An error of the operating system, with the path.
pub fn replaceable(path: &Path) -> Result<Option<(PathBuf, String)>, (PathBuf, io::Error)> {
    let user = system_user().map_err(|error| (path.to_owned(), error))?;
    let is_folder = path.is_dir();
    for (height, part) in path.ancestors().enumerate() {
        // The contents of this folder are used; the folders above only lead to it.
        let is_way = height > usize::from(!is_folder);
        let found = excess_if(part, |access| match is_way {
            true => access.check_way(&user),
            false => access.check_unchangeable(&user),
        });
        match found {
            Ok(None) => {}
            Ok(Some(problem)) => return Ok(Some((part.to_owned(), problem))),
            Err(error) => return Err((part.to_owned(), error)),
        }
    }
    Ok(None)
}

/// The right of another user than SYSTEM and the administrators to a configuration, which others may read, or to a
/// secret, as the end of a sentence about the file; `None` if there is none. Links count as their target.
///
/// # Errors
/// An error of the operating system.
pub fn excess_for_service(file: &Path, is_secret: bool) -> io::Result<Option<String>> {
    let user = system_user()?;
    let access = access_of_file(&open_to_check(file)?)?;
    let checked = if is_secret { access.check_secret(&user) } else { access.check_unchangeable(&user) };
    Ok(checked.err().map(|excess| told(&excess)))
}

/// The owner of Windows' own folder, who could act as SYSTEM in any case. On Windows that is the installer of Windows;
/// where there is one user only, as in Wine, it is this user.
fn system_user() -> io::Result<String> {
    Ok(owner_of_file(&open_to_check(&system_folder()?)?)?.to_string())
}
