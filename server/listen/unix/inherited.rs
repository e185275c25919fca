//! Sockets that a service manager has opened for the broker (socket activation): checked, and never removed, chmodded
//! or replaced.

use std::{
    env, fs, io,
    net::TcpListener,
    os::unix::{fs::FileTypeExt, net::UnixListener},
    path::{Path, PathBuf},
};

use listenfd::ListenFd;

use super::{
    LocalSocket,
    accepting::is_accepting,
    default_socket,
    lock_file::{LockFile, identity},
    path_watch::{Kept, PathState},
};
use crate::{
    config::{InheritedAddresses, TcpPort},
    listen::BindError,
};

/// Maximum sockets of one broker: more are a mistake.
const MAX_SOCKETS: usize = 16;

/// The sockets that the process was started with. Each accepts clients already.
#[derive(Debug)]
pub struct Inherited {
    /// The Unix sockets, at least one.
    sockets: Vec<InheritedSocket>,
    ports: Vec<(TcpListener, TcpPort)>,
}

/// A Unix socket that the process was started with.
#[derive(Debug)]
pub(super) struct InheritedSocket {
    pub(super) listener: UnixListener,
    pub(super) place: InheritedPlace,
}

/// The path of an inherited Unix socket. Dropping it leaves the socket to its owner.
#[derive(Debug)]
pub(super) struct InheritedPlace {
    path: PathBuf,
    /// Device and inode of the socket, which is open: no other file gets its number.
    identity: (u64, u64),
    /// Keeps other brokers away; `None` until it is taken, and if the broker may not write to the socket's folder.
    lock: Option<LockFile>,
}

impl Inherited {
    /// Takes the sockets that the environment names (`LISTEN_FDS`); `None` if there are none. Must be called once,
    /// while the process has one thread.
    ///
    /// # Errors
    /// [`BindError::Inherited`] if one of them is of another kind, or clients could not use it.
    pub fn take() -> Result<Option<Self>, BindError> {
        // Variables that a program has passed on are not for this process.
        if env::var_os("LISTEN_PID").is_none() {
            return Ok(None);
        }
        let mut found = ListenFd::from_env();
        match found.len() {
            0 => return Ok(None),
            count if count > MAX_SOCKETS => {
                return Err(problem(format!("there are {count}, and at most {MAX_SOCKETS} are allowed")));
            }
            _ => {}
        }
        let (mut sockets, mut ports) = (Vec::new(), Vec::new());
        for index in 0..found.len() {
            if let Ok(Some(listener)) = found.take_unix_listener(index) {
                sockets.push(InheritedSocket::check(listener)?);
            } else if let Ok(Some(listener)) = found.take_tcp_listener(index) {
                ports.push(check_port(listener)?);
            } else {
                return Err(problem(format!(
                    "number {index} is neither a Unix stream socket nor a TCP socket: use ListenStream="
                )));
            }
        }
        if sockets.is_empty() {
            return Err(problem(
                "there is no Unix socket among them: add ListenStream=/run/cardbroker/cardbroker.sock".into(),
            ));
        }
        Ok(Some(Self { sockets, ports }))
    }

    /// The paths of all Unix sockets, and the addresses of all TCP sockets.
    pub fn addresses(&self) -> InheritedAddresses {
        let sockets = self.sockets.iter().map(|socket| socket.place.path.clone()).collect();
        InheritedAddresses { sockets, tcp: self.ports.iter().map(|(_, address)| *address).collect() }
    }

    /// Takes the place of the sockets, and returns them with the TCP sockets.
    ///
    /// # Errors
    /// [`BindError`], if another broker has one of the paths, or clients would not trust a default one.
    pub(in crate::listen) fn into_sockets(self) -> Result<(Vec<LocalSocket>, Vec<TcpListener>), BindError> {
        let take = |socket: InheritedSocket| socket.take().map(LocalSocket::inherit);
        let sockets = self.sockets.into_iter().map(take).collect::<Result<_, _>>()?;
        Ok((sockets, self.ports.into_iter().map(|(listener, _)| listener).collect()))
    }
}

impl InheritedSocket {
    fn check(listener: UnixListener) -> Result<Self, BindError> {
        let listens = is_accepting(&listener).map_err(|error| io_problem("check a socket", error.into()))?;
        if !listens {
            return Err(problem("one is a connection: use Accept=no in the socket unit".into()));
        }
        listener.set_nonblocking(true).map_err(|error| io_problem("prepare a socket", error))?;
        let address = listener.local_addr().map_err(|error| io_problem("ask for a socket's path", error))?;
        let path = address.as_pathname().filter(|path| path.is_absolute());
        let path = path.ok_or_else(|| {
            problem("a Unix socket has no path, so that every user could connect: use ListenStream= with a path".into())
        })?;
        Ok(Self { place: InheritedPlace::find(path)?, listener })
    }

    /// Takes the lock of the path, where the broker may write beside the socket.
    ///
    /// # Errors
    /// [`BindError::AlreadyRunning`] if another broker holds the lock; [`BindError::Unfit`] if clients would not trust
    /// the path.
    pub(super) fn take(mut self) -> Result<Self, BindError> {
        let path = &self.place.path;
        default_socket::check(path)?;
        self.place.lock = match LockFile::take(path) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(BindError::AlreadyRunning { socket: path.clone() });
            }
            // In a folder of root's, the service manager alone makes sockets, and starts one broker for each.
            Err(error) => {
                tracing::debug!(%error, socket = %path.display(), "no lock beside the inherited socket");
                None
            }
        };
        Ok(self)
    }
}

impl InheritedPlace {
    fn find(path: &Path) -> Result<Self, BindError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                Ok(Self { path: path.into(), identity: identity(&found), lock: None })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(problem(format!("cannot look at {}: {error}: let every user enter its folder", path.display())))
            }
            _ => Err(BindError::Gone { socket: path.into() }),
        }
    }
}

impl Kept for InheritedPlace {
    const LOSS: &'static str = "the inherited socket was removed or replaced";

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&mut self) -> PathState {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => PathState::Held,
            // A folder that was closed says nothing about the socket in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => PathState::Held,
            _ => PathState::Taken,
        }
    }
}

/// Checks that the broker would also listen by itself at the address of the socket.
fn check_port(listener: TcpListener) -> Result<(TcpListener, TcpPort), BindError> {
    let listens = is_accepting(&listener).map_err(|error| io_problem("check a socket", error.into()))?;
    if !listens {
        return Err(problem("one is a connection: use Accept=no in the socket unit".into()));
    }
    let address = listener.local_addr().map_err(|error| io_problem("ask for a socket's address", error))?;
    let port = address.to_string().parse().map_err(|mistake| problem(format!("ListenStream={address}: {mistake}")))?;
    Ok((listener, port))
}

fn problem(problem: String) -> BindError {
    BindError::Inherited { problem }
}

fn io_problem(action: &str, error: io::Error) -> BindError {
    problem(format!("cannot {action}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let taken = InheritedSocket::check(UnixListener::bind(&path).unwrap()).unwrap().take().unwrap();
        let again = UnixListener::from(std::os::fd::OwnedFd::from(taken.listener.try_clone().unwrap()));
        let second = InheritedSocket::check(again).unwrap().take();
        assert!(matches!(second, Err(BindError::AlreadyRunning { .. })), "{second:?}");
        drop(taken);
        assert!(path.exists() && UnixStream::connect(&path).is_err());
    }

    #[test]
    fn a_removed_or_replaced_socket_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let mut socket = InheritedSocket::check(UnixListener::bind(&path).unwrap()).unwrap();
        assert!(matches!(socket.place.check(), PathState::Held));
        fs::remove_file(&path).unwrap();
        assert!(matches!(socket.place.check(), PathState::Taken));
        // The socket itself stays open, so that no other file gets its number.
        let gone = InheritedSocket::check(socket.listener.try_clone().unwrap());
        assert!(matches!(gone, Err(BindError::Gone { .. })), "{gone:?}");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(socket.place.check(), PathState::Taken));
    }

    #[test]
    fn only_addresses_that_the_configuration_may_name_are_taken() {
        let told = |address: &str| check_port(TcpListener::bind(address).unwrap()).map(|(_, port)| port);
        assert!(matches!(told("127.0.0.1:0"), Ok(TcpPort::At(address)) if address.port() != 0));
        let refused = told("0.0.0.0:0").unwrap_err().to_string();
        assert!(refused.contains("0.0.0.0 means every address of the machine"), "{refused}");
    }
}
