//! The default pipes of Windows: the user's by the user's SID, and the service's, whose name only administrators can
//! take.

use std::{fmt::Write, path::PathBuf};

use cardbroker_pipe::{LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, own_user, pipe_exists};

use super::{MAX_PIPE_BYTES, PIPES, Place};
use crate::config_folder::ConfigFolder;

/// The pipe of the service. Only administrators can create a pipe whose name begins so.
pub const SYSTEM_SOCKET: &str = r"\\.\pipe\ProtectedPrefix\Administrators\cardbroker";

/// The maximum length of a pipe's path, in bytes.
pub const MAX_PATH_BYTES: usize = MAX_PIPE_BYTES;

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
    ConfigFolder::of_this_user().path().join(format!("{}.lock", file_name(pipe.trim_start_matches(PIPES))))
}

/// The name of a file for the pipe `name`, another one for each pipe: letters and digits of ASCII and hyphens as they
/// are, any other byte as `%` and two hexadecimal digits. The system ignores the case of both names.
fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() || letter == '-' {
            safe.push(letter);
            continue;
        }
        // Beyond ASCII the escaped bytes would not be equal for both cases.
        let mut upper = letter.to_uppercase();
        let letter = if upper.len() == 1 { upper.next().unwrap_or(letter) } else { letter };
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            // Writing into a string does not fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

/// Whether a broker serves the service's pipe. Does not wait.
pub fn system_answers() -> bool {
    pipe_exists(SYSTEM_SOCKET)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_users_broker_comes_before_the_services() {
        let paths = |user| places(user).into_iter().map(|place| place.path).collect::<Vec<_>>();
        let own = PathBuf::from(r"\\.\pipe\cardbroker\S-1-5-21-7");
        assert_eq!(paths("S-1-5-21-7"), [own, SYSTEM_SOCKET.into()]);
        assert_eq!(paths(SYSTEM), [PathBuf::from(SYSTEM_SOCKET)], "the service uses its own pipe only");
    }

    #[test]
    fn each_pipe_has_a_lock_file_of_its_own() {
        let names =
            [r"cardbroker\a", "cardbroker.a", "cardbroker_a", "cardbroker%5Ca", "a\u{e4}", "a\u{f6}", "a", "a "];
        let files: HashSet<_> = names.map(|name| lock_place(&format!("{PIPES}{name}"))).into();
        assert_eq!(files.len(), names.len(), "{files:?}");
        assert_eq!(file_name(r"cardbroker\S-1-5-21-7"), "cardbroker%5CS-1-5-21-7");
        // One pipe for the system.
        assert_eq!(file_name("\u{e4}"), file_name("\u{c4}"));
        assert_eq!(file_name("a/*?\u{df}"), "a%2F%2A%3F%C3%9F");
    }
}
