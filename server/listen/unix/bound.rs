//! The Unix socket: its folder, and the lock against a second broker.

use std::{
    fs::{self, DirBuilder, Metadata, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown},
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
};

use cardbroker_local::socket::default_socket;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
    process::{getegid, geteuid},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    default_socket,
    lock_file::{LockFile, identity, names_file},
    path_watch::PathGuard,
    socket_watch::{self, KeptSocket, Listener},
};
use crate::{config::ListenConfig, listen::BindError};

/// Maximum clients that wait for the accept; the kernel has a limit of its own.
const BACKLOG: i32 = 1_024;

/// Maximum files that are moved away from the socket's path and kept.
const MAX_REPLACED: u32 = 9;

/// The bytes of a client.
pub(crate) type Stream = tokio::net::UnixStream;

/// A socket that clients can connect to. No connection is accepted yet.
#[derive(Debug)]
pub(super) struct BoundSocket {
    listener: UnixListener,
    place: SocketPlace,
}

impl BoundSocket {
    /// Takes the socket of `config`, with its mode and group in force before the first client can connect. Replaces a
    /// dead socket of an earlier run.
    ///
    /// Creates a missing folder (the last component only). Every user who may connect can enter the folder.
    /// The default folder gets the same mode and group if it exists. No other folder is changed: it must belong to the
    /// broker's user, and no other user may write to it.
    ///
    /// # Errors
    /// [`BindError`], if another broker runs, or the path or its folder is unsafe or unusable. Folder and lock file may
    /// have been created; nothing else was changed.
    pub(super) fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        let socket = &config.socket;
        let unfit = |problem: &str| BindError::Unfit { socket: socket.clone(), problem: problem.into() };
        SocketAddr::from_pathname(socket).map_err(|_| unfit("the path is too long for a socket: use a shorter one"))?;
        let folder = socket.parent().ok_or_else(|| unfit("it has no folder"))?;
        let prepared = check_folder(config, folder)?;
        let lock = lock(socket)?;
        remove_dead(socket)?;
        prepared.open(socket, folder)?;
        let (listener, identity) = listen(config).map_err(io_error(socket, "open the socket"))?;
        Ok(Self { listener, place: SocketPlace { config: config.clone(), identity, lock } })
    }

    /// The path of the socket.
    pub(super) fn path(&self) -> &Path {
        self.place.socket()
    }

    /// Registers the socket with the runtime, and watches its path from now on. Must be called inside a runtime.
    pub(super) fn listen(self) -> io::Result<(Listener, PathGuard<KeptSocket>)> {
        Ok(socket_watch::start(tokio::net::UnixListener::from_std(self.listener)?, self.place))
    }
}

/// The exclusive right to the socket. Dropping it removes the socket, then releases the lock.
#[derive(Debug)]
pub(super) struct SocketPlace {
    config: ListenConfig,
    /// Device and inode of the socket: another file at its path is not removed.
    identity: (u64, u64),
    lock: LockFile,
}

impl SocketPlace {
    pub(super) fn socket(&self) -> &Path {
        &self.config.socket
    }

    /// Whether the path still names the socket.
    pub(super) fn is_held(&self) -> bool {
        names_file(self.socket(), self.identity)
    }

    /// Whether a process serves at the path.
    pub(super) fn is_served(&self) -> bool {
        answers(self.socket()).unwrap_or(false)
    }

    /// Takes the path again, as at the start, after its socket was removed or replaced. Whatever replaced it is moved
    /// aside unless it is a dead socket: the lock decides whose path it is.
    ///
    /// # Errors
    /// [`BindError::AlreadyRunning`] if another process has the lock; else the same as of [`BoundSocket::bind`]. The
    /// place stays as it is.
    pub(super) fn take_again(&mut self) -> Result<UnixListener, BindError> {
        let socket = self.socket();
        let folder = socket.parent().unwrap_or(Path::new("/"));
        let prepared = check_folder(&self.config, folder)?;
        // The lock file went with the folder, and another broker may have made a new one.
        let new_lock = if self.lock.is_in_place() { None } else { Some(lock(socket)?) };
        make_way(socket)?;
        prepared.open(socket, folder)?;
        default_socket::check(socket)?;
        let (listener, identity) = listen(&self.config).map_err(io_error(socket, "open the socket"))?;
        self.identity = identity;
        if let Some(lock) = new_lock {
            self.lock = lock;
        }
        Ok(listener)
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        if self.is_held()
            && let Err(error) = fs::remove_file(self.socket())
        {
            tracing::warn!(%error, socket = %self.socket().display(), "cannot remove the socket");
        }
    }
}

/// A checked folder, and how it is opened for clients once the broker knows that the socket is its own.
struct CheckedFolder {
    /// The group, if it is set, and the mode; `None` for a folder that the broker does not manage.
    access: Option<(Option<u32>, u32)>,
}

impl CheckedFolder {
    fn open(self, socket: &Path, folder: &Path) -> Result<(), BindError> {
        let Some((gid, mode)) = self.access else { return Ok(()) };
        give(folder, gid, mode).map_err(io_error(socket, "set the mode and the group of its folder"))
    }
}

/// Makes the folder if it is missing, and checks it. Changes no folder that is there: another broker may serve in it.
fn check_folder(config: &ListenConfig, folder: &Path) -> Result<CheckedFolder, BindError> {
    let socket = &config.socket;
    let created = match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(io_error(socket, "create its folder")(error)),
    };
    // A symbolic link is not followed: its owner could point clients to another folder later.
    let found = fs::symlink_metadata(folder).map_err(io_error(socket, "check its folder"))?;
    let gid = config.socket_group.as_ref().and_then(|group| group.group.gid());
    let managed = created || default_socket().is_some_and(|socket| socket.parent() == Some(folder));
    if let Some(problem) = folder_problem(&found, gid.filter(|_| !managed)) {
        let problem = format!("the folder {} {problem}", folder.display());
        return Err(BindError::Unfit { socket: socket.clone(), problem });
    }
    let mode = folder_mode(config.socket_mode);
    // Without a configured group the socket has the broker's own.
    let gid = gid.or_else(|| (mode == 0o750).then(|| getegid().as_raw()));
    Ok(CheckedFolder { access: managed.then_some((gid, mode)) })
}

/// The mode of a folder of the broker's own: every user who may connect, which needs the right to write to the socket,
/// can enter the folder.
fn folder_mode(socket_mode: u32) -> u32 {
    match socket_mode {
        mode if mode & 0o002 != 0 => 0o755,
        mode if mode & 0o020 != 0 => 0o750,
        _ => 0o700,
    }
}

/// The problem of a folder as the socket's parent; `None` if it has none. `group` must be able to enter the folder.
fn folder_problem(folder: &Metadata, group: Option<u32>) -> Option<&'static str> {
    let (mode, enters) = (folder.mode(), |gid| folder.gid() == gid && folder.mode() & 0o010 != 0);
    if !folder.is_dir() {
        Some("is not a folder (a symbolic link does not count): name the folder itself")
    } else if folder.uid() != geteuid().as_raw() {
        Some("belongs to another user: use a folder of your own")
    } else if mode & 0o022 != 0 {
        Some("can be written by others, who could put their own socket there: chmod go-w it")
    } else if group.is_some_and(|gid| !enters(gid) && mode & 0o001 == 0) {
        Some("cannot be entered by the socket's group: chgrp it and chmod g+x it")
    } else {
        None
    }
}

/// Frees the path of a socket whose lock the caller holds: removes a dead socket and moves anything else aside.
fn make_way(socket: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(socket, "check the path")(error)),
        Ok(found) if found.file_type().is_socket() && answers(socket).is_ok_and(|answers| !answers) => {
            fs::remove_file(socket).map_err(io_error(socket, "remove the dead socket"))
        }
        Ok(_) => move_aside(socket),
    }
}

/// Renames the file or folder at the path, without replacing another one.
fn move_aside(socket: &Path) -> Result<(), BindError> {
    for number in 1..=MAX_REPLACED {
        let mut aside = socket.as_os_str().to_owned();
        aside.push(".replaced");
        if number > 1 {
            aside.push(format!("-{number}"));
        }
        match renameat_with(CWD, socket, CWD, &aside, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(io_error(socket, "move away what is in its place")(error.into())),
            Ok(()) => return Ok(()),
        }
    }
    let problem = format!(
        "something else is there, and {MAX_REPLACED} files were moved away from there before: remove the files whose \
         names contain .replaced"
    );
    Err(BindError::Unfit { socket: socket.into(), problem })
}

fn lock(socket: &Path) -> Result<LockFile, BindError> {
    LockFile::take(socket).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => BindError::AlreadyRunning { socket: socket.into() },
        _ => io_error(socket, "lock its lock file")(error),
    })
}

/// Removes the socket of an ended broker. The caller holds the lock.
fn remove_dead(socket: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(socket, "check the path")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            let problem = "something else than a socket is there: move it away or use another path".into();
            return Err(BindError::Unfit { socket: socket.into(), problem });
        }
        Ok(_) => {}
    }
    // Something may have removed the lock file of a running broker.
    if answers(socket).map_err(io_error(socket, "test the existing socket"))? {
        return Err(BindError::AlreadyRunning { socket: socket.into() });
    }
    fs::remove_file(socket).map_err(io_error(socket, "remove the dead socket"))
}

fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // Another broker answers: its backlog is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn listen(config: &ListenConfig) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&config.socket)?)?;
    // No client can connect before `listen`, whatever the umask.
    let prepared =
        give(&config.socket, config.socket_group.as_ref().and_then(|group| group.group.gid()), config.socket_mode)
            .and_then(|()| socket.listen(BACKLOG))
            .and_then(|()| fs::symlink_metadata(&config.socket));
    match prepared {
        Ok(found) => Ok((OwnedFd::from(socket).into(), identity(&found))),
        Err(error) => fs::remove_file(&config.socket).and(Err(error)),
    }
}

fn give(path: &Path, gid: Option<u32>, mode: u32) -> io::Result<()> {
    if gid.is_some() {
        chown(path, None, gid)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn io_error(socket: &Path, action: &'static str) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Io { socket: socket.into(), action, source }
}
