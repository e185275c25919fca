//! The default pipes of Windows: the user's by the user's SID, and the service's, whose name only administrators can
//! take.

use std::{fs, path::PathBuf};

use cardbroker_pipe::{ADMINISTRATORS, LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, own_user};

use super::{MAX_PIPE_BYTES, PIPES, Place};
use crate::config_folder::ConfigFolder;

/// The pipe of the service. Only administrators can create a pipe whose name begins so.
pub const SYSTEM_SOCKET: &str = r"\\.\pipe\ProtectedPrefix\Administrators\cardbroker";

/// The maximum length of a pipe's path, in bytes.
pub const MAX_PATH_BYTES: usize = MAX_PIPE_BYTES;

/// The owners of a pipe besides the user that a client trusts: who is one of them may do everything here.
pub const TRUSTED_OWNERS: [&str; 2] = [SYSTEM, ADMINISTRATORS];

/// The accounts of services, whose broker is the machine's.
const SERVICES: [&str; 3] = [SYSTEM, LOCAL_SERVICE, NETWORK_SERVICE];

/// The places in the order in which a client of the user with this SID tries them.
fn places(user: &str) -> Vec<Place> {
    let own = own(user);
    if own.is_own { vec![own, system()] } else { vec![own] }
}

/// The place of the own broker of the user with this SID; of a service's account the machine's.
fn own(user: &str) -> Place {
    match SERVICES.contains(&user) {
        true => system(),
        false => Place { path: format!(r"{PIPES}cardbroker\{user}").into(), is_own: true },
    }
}

fn system() -> Place {
    Place { path: SYSTEM_SOCKET.into(), is_own: false }
}

/// Returns the places for this process; none if the system does not tell its user.
pub fn default_places() -> Vec<Place> {
    own_user().map(|user| places(user.as_str())).unwrap_or_default()
}

/// Returns the default pipe of a broker of this user; `None` if the system does not tell the user.
pub fn default_socket() -> Option<PathBuf> {
    Some(own(own_user().ok()?.as_str()).path)
}

/// The path of the lock of the broker that serves `pipe`, below the folder of the user's or the machine's files, which
/// need not exist. The pipe alone does not keep a second broker away on every system.
pub fn lock_place(pipe: &str) -> PathBuf {
    let safe = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '.' };
    let name: String = pipe.trim_start_matches(PIPES).chars().map(safe).collect();
    ConfigFolder::of_this_user().path().join(format!("{name}.lock"))
}

/// Whether a broker serves the service's pipe. Does not wait.
pub fn system_answers() -> bool {
    // A look at the list of pipes: to open the pipe would take an instance of it.
    let name = SYSTEM_SOCKET.trim_start_matches(PIPES);
    fs::read_dir(PIPES).is_ok_and(|pipes| pipes.flatten().any(|pipe| pipe.file_name().to_str() == Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_broker_comes_before_the_services() {
        let paths = |user| places(user).into_iter().map(|place| place.path).collect::<Vec<_>>();
        let own = PathBuf::from(r"\\.\pipe\cardbroker\S-1-5-21-7");
        assert_eq!(paths("S-1-5-21-7"), [own, SYSTEM_SOCKET.into()]);
        assert_eq!(paths(SYSTEM), [PathBuf::from(SYSTEM_SOCKET)], "the service uses its own pipe only");
    }
}
