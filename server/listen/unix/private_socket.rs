//! Sockets of private doors: each in a folder of its own, with a name that cannot be guessed.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

use super::{door::DoorListener, socket_watch};
use crate::listen::incoming::ConnectionNumbers;

/// The name of the socket in its folder.
const SOCKET: &str = "pcscd.comm";
/// The part that follows the main door's name in the names of the folders.
const MARK: &str = ".private-";

/// The folder that the service manager has made for this service; `None` without one.
pub(super) fn runtime_folder() -> Option<PathBuf> {
    // systemd names several folders with colons between them.
    let folders = env::var_os("RUNTIME_DIRECTORY")?;
    env::split_paths(&folders).next().filter(|folder| folder.is_absolute())
}

/// Makes the sockets of private doors.
#[derive(Debug)]
pub struct PrivateListeners {
    main: PathBuf,
    /// The folder in which each door gets its own.
    parent: PathBuf,
    numbers: ConnectionNumbers,
}

/// The socket of a private door. Dropping it removes the socket with its folder.
#[derive(Debug)]
pub struct PrivateSocket {
    folder: PathBuf,
    path: PathBuf,
}

impl PrivateListeners {
    /// For doors beside the `main` one, whose lock this process has, or in the `runtime` folder of the service, which
    /// may be unable to write there. Removes what an earlier broker has left.
    pub(super) fn new(main: PathBuf, runtime: Option<PathBuf>, numbers: ConnectionNumbers) -> Self {
        let parent = runtime.unwrap_or_else(|| main.parent().unwrap_or(Path::new("/")).to_owned());
        let listeners = Self { main, parent, numbers };
        listeners.remove_old();
        listeners
    }

    /// The path of the main door.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Opens a socket. Every user who knows its path can connect to it. Call it inside a runtime.
    ///
    /// # Errors
    /// The system refuses the folder or the socket.
    pub fn open(&self) -> io::Result<(PrivateSocket, DoorListener)> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let mut name = self.prefix();
        name.push(hex::encode(secret));
        let folder = self.parent.join(name);
        // Nobody enters it before the socket is there.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let socket = PrivateSocket { path: folder.join(SOCKET), folder };
        let listener = UnixListener::bind(&socket.path)?;
        // Passable, but not readable: the names are the secret.
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o666))?;
        fs::set_permissions(&socket.folder, fs::Permissions::from_mode(0o711))?;
        let listener = socket_watch::unwatched(listener);
        Ok((socket, DoorListener { listener, numbers: self.numbers.clone() }))
    }

    fn prefix(&self) -> OsString {
        let mut prefix = self.main.file_name().unwrap_or_default().to_owned();
        prefix.push(MARK);
        prefix
    }

    fn remove_old(&self) {
        let prefix = self.prefix();
        for entry in fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                let folder = entry.path();
                drop(PrivateSocket { path: folder.join(SOCKET), folder });
            }
        }
    }
}

impl PrivateSocket {
    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        // An error means that somebody has removed it.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn a_private_socket_goes_with_its_door() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("pcscd.comm");
        let listeners = PrivateListeners::new(main.clone(), None, ConnectionNumbers::default());
        let (socket, _listener) = listeners.open().unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(socket.path()), mode(socket.path().parent().unwrap())), (0o666, 0o711));
        let (other, _other_listener) = listeners.open().unwrap();
        assert_ne!(socket.path(), other.path());
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // As after a crash.
        std::mem::forget(other);
        fs::write(folder.path().join("pcscd.comm.lock"), "").unwrap();
        drop(PrivateListeners::new(main, None, ConnectionNumbers::default()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the foreign file is left");
    }
    #[tokio::test]
    async fn a_service_has_its_private_sockets_in_its_own_folder() {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let main = folder.path().join("pcscd.comm");
        let listeners = PrivateListeners::new(main, Some(runtime.path().to_owned()), ConnectionNumbers::default());
        let (socket, _listener) = listeners.open().unwrap();
        assert!(socket.path().starts_with(runtime.path()), "{socket:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
