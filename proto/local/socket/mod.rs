//! The default places of brokers on a machine: one rule for the broker and its clients. On Unix they are sockets, on
//! Windows named pipes.

use std::path::{Path, PathBuf};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use self::unix::{
    MAX_PATH_BYTES, SYSTEM_SOCKET, default_places, default_socket, own_place, places, system_answers,
};
#[cfg(windows)]
pub use self::windows::{MAX_PATH_BYTES, SYSTEM_SOCKET, default_places, default_socket, lock_place, system_answers};

/// The text of the endpoint at a local path: `unix:/run/x.sock`, or on Windows `npipe:////./pipe/x`.
pub fn local_endpoint(path: &Path) -> String {
    match pipe_endpoint(path) {
        Some(endpoint) => endpoint,
        None => format!("unix:{}", path.display()),
    }
}

/// The beginning of the path of every pipe on a Windows machine.
const PIPES: &str = r"\\.\pipe\";

/// The text of the endpoint of a pipe's path; `None` for another path.
fn pipe_endpoint(path: &Path) -> Option<String> {
    let name = path.to_str().filter(|path| is_pipe(path))?.strip_prefix(PIPES)?;
    Some(format!("{PIPE_SCHEME}//./pipe/{}", name.replace('\\', "/")))
}

/// The scheme of pipes, with the first slashes of the path.
const PIPE_SCHEME: &str = "npipe://";

/// The path of the pipe in the text of an endpoint, `npipe:////./pipe/NAME` or `\\.\pipe\NAME`; `None` if it is none
/// of a pipe on this machine. A slash in the name stands for a backslash.
pub fn pipe_path(endpoint: &str) -> Option<PathBuf> {
    let path = match endpoint.strip_prefix(PIPE_SCHEME) {
        Some(path) => path.replace('/', r"\"),
        None => endpoint.to_owned(),
    };
    is_pipe(&path).then(|| path.into())
}

/// Whether the path is that of a pipe on this machine, if it is one with Windows.
pub fn is_pipe(path: &str) -> bool {
    path.strip_prefix(PIPES).is_some_and(|name| !name.is_empty() && !name.contains('/') && path.len() <= MAX_PIPE_BYTES)
}

/// The maximum length of a pipe's path, in bytes.
const MAX_PIPE_BYTES: usize = 256;

/// A socket or pipe at which a client looks for a broker that nobody has named, or the endpoint file beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The absolute path of the socket, the pipe or the file.
    pub path: PathBuf,
    /// Whether it is the user's own: on Unix it lies in the user's runtime folder, which must belong to the user.
    pub is_own: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_on_this_machine_and_has_a_name() {
        for (endpoint, path) in [
            ("npipe:////./pipe/cardbroker/S-1-5-21-7", r"\\.\pipe\cardbroker\S-1-5-21-7"),
            (r"\\.\pipe\x", r"\\.\pipe\x"),
        ] {
            assert_eq!(pipe_path(endpoint), Some(path.into()), "{endpoint}");
            assert_eq!(pipe_path(&local_endpoint(Path::new(path))), Some(path.into()), "{path}");
        }
        for endpoint in ["npipe:////./pipe/", r"\\.\pipe\", r"\\server\pipe\x", "npipe:////server/pipe/x", r"C:\x", "x"]
        {
            assert_eq!(pipe_path(endpoint), None, "{endpoint}");
        }
        assert_eq!(local_endpoint(Path::new("/run/x")), "unix:/run/x");
    }
}
