//! The named pipe that clients open, and the lock against a second broker.

use std::{fs::File, io, path::Path, sync::Arc};

use cardbroker_local::{
    private_file,
    socket::{is_pipe, lock_place},
};
use cardbroker_pipe::{AccessList, Sid};

use super::{
    accept::{Instances, Listener},
    stream::Closing,
    take::Obstacle,
};
use crate::{config::ListenConfig, listen::BindError};

/// A pipe that clients can open. No connection is accepted yet.
#[derive(Debug)]
pub(super) struct BoundPipe {
    instances: Instances,
    lock: Arc<PipeLock>,
}

/// The exclusive right to the pipe, until all that have a share of it are dropped: each of its instances has one.
#[derive(Debug)]
pub(super) struct PipeLock {
    _file: File,
}

impl BoundPipe {
    /// Takes the pipe of `config`, with its access list in force before the first client can open it. Must be called
    /// inside a runtime.
    ///
    /// # Errors
    /// [`BindError`], if another broker runs, the path is no pipe's, two groups are to open it, or Windows does not
    /// grant it.
    pub(super) fn bind(config: &ListenConfig) -> Result<Self, BindError> {
        let path = &config.socket;
        let failed = |action| move |source| BindError::Io { socket: path.clone(), action, source };
        let name = path.to_str().filter(|name| is_pipe(name)).ok_or_else(|| BindError::Unfit {
            socket: path.clone(),
            problem: r"it is no pipe on this machine: use a path such as \\.\pipe\cardbroker\NAME".into(),
        })?;
        let lock = PipeLock::take(&lock_place(name)).map(Arc::new).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => BindError::AlreadyRunning { socket: path.clone() },
            _ => failed("lock its lock file")(error),
        })?;
        let group = group(config).map_err(|problem| BindError::Unfit { socket: path.clone(), problem })?;
        let access = AccessList::new(group.as_ref()).map_err(failed("make its access list"))?;
        let instances = Instances::first(name, access, Arc::clone(&lock)).map_err(|obstacle| match obstacle {
            // A broker with a lock in another folder.
            Obstacle::Served => BindError::AlreadyRunning { socket: path.clone() },
            Obstacle::NotGranted => BindError::NotGranted { socket: path.clone() },
            Obstacle::Io(error) => failed("make the pipe")(error),
        })?;
        Ok(Self { instances, lock })
    }

    /// Starts to accept clients. Connections that have ended join `closing`. Must be called inside a runtime.
    pub(super) fn listen(self, closing: &Closing) -> (Listener, Arc<PipeLock>) {
        (Listener::start(self.instances, closing.clone()), self.lock)
    }
}

/// The group that may open the pipe.
pub(super) fn group(config: &ListenConfig) -> Result<Option<Sid>, String> {
    let sid = match (&config.pipe_group, &config.socket_group) {
        (Some(_), Some(_)) => return Err("both pipe_group and socket_group name its group: remove one of them".into()),
        (Some(group), None) => Some(group.sid()),
        (None, Some(group)) => group.group.sid(),
        (None, None) => None,
    };
    sid.map(|sid| sid.to_string().parse()).transpose()
}

impl PipeLock {
    /// Locks a file without waiting. Makes it and its folder if they are missing; it stays.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        private_file::create_folder(private_file::folder_of(path))?;
        Ok(Self { _file: private_file::lock_file(path)? })
    }
}
