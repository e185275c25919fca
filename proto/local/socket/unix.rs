//! The default sockets: the user's in the runtime folder, and the system's.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};

use super::Place;

/// The socket of the system's broker, and the only default of root.
pub const SYSTEM_SOCKET: &str = "/run/cardbroker/cardbroker.sock";

/// The maximum length of a socket's path, in bytes: the system's limit without the final NUL.
pub const MAX_PATH_BYTES: usize = 107;

/// Returns the default places of the user `uid`, in the order in which a client tries them. `runtime` is the value of
/// `XDG_RUNTIME_DIR`; a relative path counts as unset.
pub fn places(uid: u32, runtime: Option<&Path>) -> Vec<Place> {
    match (uid, own(uid, runtime)) {
        (0, system) => vec![system],
        (_, own) => vec![own, system()],
    }
}

/// The place of the own broker of the user `uid`; of root the system's.
fn own(uid: u32, runtime: Option<&Path>) -> Place {
    match uid {
        0 => system(),
        _ => Place { path: socket_below(&runtime_folder(uid, runtime)), is_own: true },
    }
}

fn system() -> Place {
    Place { path: SYSTEM_SOCKET.into(), is_own: false }
}

/// Returns the places for this process.
pub fn default_places() -> Vec<Place> {
    places(geteuid().as_raw(), runtime_variable().as_deref())
}

/// Returns the place of this user's own broker: the first of the default places.
pub fn own_place() -> Place {
    own(geteuid().as_raw(), runtime_variable().as_deref())
}

/// Returns the default socket of a broker of this user; `None` if the user has no runtime folder.
pub fn default_socket() -> Option<PathBuf> {
    let uid = geteuid().as_raw();
    if uid == 0 {
        return Some(SYSTEM_SOCKET.into());
    }
    let folder = runtime_folder(uid, runtime_variable().as_deref());
    folder.is_dir().then(|| socket_below(&folder))
}

/// Whether a broker whom this user can trust accepts connections on the system's socket.
pub fn system_answers() -> bool {
    let place = system();
    crate::trust::walk(&place, geteuid().as_raw()).is_ok() && accepts(&place.path)
}

/// Whether a process listens on `socket`. Does not wait.
fn accepts(socket: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(socket) else { return false };
    probe().is_ok_and(|probe| connect(&probe, &address).is_ok())
}

/// A socket that does not wait, and that children do not inherit.
#[cfg(not(target_vendor = "apple"))]
fn probe() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// The same in three steps: there are no flags for it here.
#[cfg(target_vendor = "apple")]
fn probe() -> rustix::io::Result<OwnedFd> {
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&probe, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&probe, true)?;
    Ok(probe)
}

fn runtime_variable() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
}

fn runtime_folder(uid: u32, runtime: Option<&Path>) -> PathBuf {
    runtime.filter(|path| path.is_absolute()).map_or_else(|| format!("/run/user/{uid}").into(), Path::to_path_buf)
}

fn socket_below(runtime: &Path) -> PathBuf {
    runtime.join("cardbroker/cardbroker.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(uid: u32, runtime: Option<&str>) -> Vec<String> {
        let places = places(uid, runtime.map(Path::new));
        places.iter().map(|place| place.path.display().to_string()).collect()
    }

    #[test]
    fn the_users_broker_comes_before_the_systems() {
        let own = "/run/user/7/cardbroker/cardbroker.sock";
        assert_eq!(paths(7, None), [own, SYSTEM_SOCKET]);
        assert_eq!(paths(7, Some("relative")), [own, SYSTEM_SOCKET]);
        assert_eq!(paths(7, Some("/elsewhere")), ["/elsewhere/cardbroker/cardbroker.sock", SYSTEM_SOCKET]);
        assert_eq!(paths(0, Some("/run/user/7")), [SYSTEM_SOCKET], "root uses the system's broker only");
    }
}
