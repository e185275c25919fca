//! The path of the default socket: one rule for the broker and its clients.

use std::path::PathBuf;

/// Returns the path of the default socket:
///
/// * `$XDG_RUNTIME_DIR/cardbroker/cardbroker.sock` if that variable holds an absolute path;
/// * else `/run/cardbroker/cardbroker.sock` for root;
/// * else `/tmp/cardbroker-UID/cardbroker.sock`.
#[cfg(unix)]
pub fn default_socket() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    socket_below(runtime, rustix::process::getuid().as_raw())
}

#[cfg(unix)]
fn socket_below(runtime: Option<PathBuf>, uid: u32) -> PathBuf {
    let folder = match (runtime, uid) {
        (Some(runtime), _) => runtime.join("cardbroker"),
        (None, 0) => PathBuf::from("/run/cardbroker"),
        (None, uid) => PathBuf::from(format!("/tmp/cardbroker-{uid}")),
    };
    folder.join("cardbroker.sock")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_default_socket_prefers_the_runtime_folder() {
        let runtime = || Some(PathBuf::from("/run/user/7"));
        assert_eq!(socket_below(runtime(), 7), PathBuf::from("/run/user/7/cardbroker/cardbroker.sock"));
        assert_eq!(socket_below(None, 0), PathBuf::from("/run/cardbroker/cardbroker.sock"));
        assert_eq!(socket_below(None, 7), PathBuf::from("/tmp/cardbroker-7/cardbroker.sock"));
    }
}
