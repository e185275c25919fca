//! The listening socket and its path: a socket that was removed or replaced while the broker runs is opened again.
//!
//! Connections are not affected. Clients that wait in the backlog of the old socket are still accepted. If another
//! broker has taken the path, with its lock, the broker gives up: two brokers would fight over the readers.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardbroker_core::caller::Caller;
use tokio::{net::UnixListener, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    BindError,
    folder_watch::FolderWatch,
    os::{SocketPlace, Stream},
    peer_process,
};

/// The pause after the first attempt to open the socket again, doubled up to the longest while its path does not stay.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The socket in use; `None` when no client is accepted any more.
type Current = watch::Sender<Option<Arc<UnixListener>>>;

/// The socket, while clients are accepted. Dropping it closes the socket and ends the watch of its path.
#[derive(Debug)]
pub(super) struct Listener(Current);

/// The exclusive right to the socket. Dropping it removes the socket and releases the lock.
#[derive(Debug)]
pub(super) struct SocketGuard {
    place: SharedPlace,
    /// Cancelled by the watch once another broker has taken the path.
    taken: CancellationToken,
    _watch: AbortOnDropHandle<()>,
}

/// The place of the socket, owned by the guard; `None` once that was dropped.
type SharedPlace = Arc<Mutex<Option<SocketPlace>>>;

/// Starts to watch the path of `socket`. The watch ends with the listener or with the guard.
pub(super) fn start(socket: UnixListener, place: SocketPlace) -> io::Result<(Listener, SocketGuard)> {
    let current = Current::new(Some(Arc::new(socket)));
    let place = Arc::new(Mutex::new(Some(place)));
    let taken = CancellationToken::new();
    let task = tokio::spawn(watch_place(Arc::clone(&place), current.clone(), taken.clone()));
    Ok((Listener(current), SocketGuard { place, taken, _watch: AbortOnDropHandle::new(task) }))
}

impl SocketGuard {
    /// Waits until another broker has taken the path of the socket. Cancel-safe.
    pub(super) async fn taken(&self) {
        self.taken.cancelled().await;
    }
}

impl Listener {
    /// Accepts the next client. Its connection gets the `next` number.
    pub(super) async fn accept(&self, next: impl FnOnce() -> u64) -> io::Result<(Stream, Caller)> {
        let mut current = self.0.subscribe();
        let stream = loop {
            let socket = current.borrow_and_update().clone().ok_or(io::ErrorKind::NotConnected)?;
            tokio::select! {
                // The clients in the backlog of the old socket come first.
                biased;
                accepted = socket.accept() => break accepted?.0,
                _ = current.changed() => {}
            }
        };
        let caller = peer_process::caller(next(), &stream);
        Ok((stream, caller))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        drop(lock(&self.place).take());
    }
}

fn lock(place: &SharedPlace) -> MutexGuard<'_, Option<SocketPlace>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch_place(place: SharedPlace, current: Current, taken: CancellationToken) {
    let mut end = current.subscribe();
    tokio::select! {
        _ = end.wait_for(Option::is_none) => {}
        () = keep(&place, &current, &taken) => {}
    }
}

/// Opens the socket again whenever its path does not name it any more, until the guard is dropped or another broker has
/// taken the path.
async fn keep(place: &SharedPlace, current: &Current, taken: &CancellationToken) {
    let (mut folders, mut retry) = (FolderWatch::default(), Retry::Steady);
    loop {
        let state = {
            let mut place = lock(place);
            let Some(place) = place.as_mut() else { return };
            // Before the path is checked, so that no change falls between them.
            folders.follow(place.socket());
            check_path(place, current)
        };
        match &state {
            PathState::Taken => return taken.cancel(),
            PathState::Failed(problem) if !matches!(retry, Retry::Failing { .. }) => {
                tracing::error!("the socket was removed or replaced, and new clients find no broker: {problem}");
            }
            _ => {}
        }
        retry = retry.after(&state).wait(&mut folders).await;
    }
}

/// The state of the path when it was checked.
#[derive(Debug)]
pub(super) enum PathState {
    /// It still names the socket.
    Held,
    /// It did not; now it names a new one.
    Reopened,
    /// It does not, and no new socket can be opened now.
    Failed(BindError),
    /// Another broker serves there and has the lock.
    Taken,
}

/// Checks whether the path still names the socket. Opens another one if it does not.
fn check_path(place: &mut SocketPlace, current: &Current) -> PathState {
    if place.is_held() {
        return PathState::Held;
    }
    let opened = place.take_again().and_then(|socket| {
        let source = |source| BindError::Io { socket: place.socket().into(), action: "open the socket", source };
        UnixListener::from_std(socket).map_err(source)
    });
    match opened {
        Ok(socket) => {
            tracing::warn!(socket = %place.socket().display(), "the socket was removed or replaced: listening again");
            let socket = Arc::new(socket);
            current.send_if_modified(|current| current.as_mut().map(|current| *current = socket).is_some());
            PathState::Reopened
        }
        Err(BindError::AlreadyRunning { .. }) if place.is_served() => PathState::Taken,
        Err(problem) => PathState::Failed(problem),
    }
}

/// How the last checks of the path went, which decides when the next one comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The path names the file, as it did before: the next check follows a change in the folders.
    Steady,
    /// The path has named the new socket once: the next check follows a change, or comes after the longest pause.
    Settling {
        /// The pause of the last attempt.
        pause: Duration,
    },
    /// The socket was opened again: the next check comes after the pause.
    Reopened {
        /// The time until the next check.
        pause: Duration,
    },
    /// The socket cannot be opened: the next attempt comes after the pause.
    Failing {
        /// The time until the next check.
        pause: Duration,
    },
}

impl Retry {
    /// The retry after another check.
    pub(super) fn after(self, state: &PathState) -> Self {
        let (last, next) = match self {
            Self::Steady => (None, SHORTEST_PAUSE),
            Self::Settling { pause } | Self::Reopened { pause } | Self::Failing { pause } => {
                (Some(pause), LONGEST_PAUSE.min(pause * 2))
            }
        };
        match state {
            PathState::Held => last.map_or(Self::Steady, |pause| Self::Settling { pause }),
            PathState::Reopened => Self::Reopened { pause: next },
            PathState::Failed(_) | PathState::Taken => Self::Failing { pause: next },
        }
    }

    /// Waits until the next check is due. Returns the retry after the wait.
    pub(super) async fn wait(self, folders: &mut FolderWatch) -> Self {
        match self {
            Self::Steady => _ = folders.changed(None).await,
            // A folder that is being removed may take the new file with it, without a notice of its own.
            Self::Settling { .. } if !folders.changed(Some(LONGEST_PAUSE)).await => return Self::Steady,
            Self::Settling { .. } => {}
            Self::Reopened { pause } | Self::Failing { pause } => sleep(pause).await,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_path_has_settled() {
        let failed = || PathState::Failed(BindError::NoSocket { user: 0 });
        let ms = Duration::from_millis;
        let mut retry = Retry::Steady;
        for (state, expected) in [
            (PathState::Held, Retry::Steady),
            (PathState::Reopened, Retry::Reopened { pause: ms(50) }),
            (PathState::Reopened, Retry::Reopened { pause: ms(100) }),
            (failed(), Retry::Failing { pause: ms(200) }),
            (failed(), Retry::Failing { pause: ms(400) }),
            (PathState::Held, Retry::Settling { pause: ms(400) }),
            (PathState::Held, Retry::Settling { pause: ms(400) }),
            (PathState::Reopened, Retry::Reopened { pause: ms(800) }),
            (failed(), Retry::Failing { pause: ms(1_600) }),
            (failed(), Retry::Failing { pause: ms(3_200) }),
            (failed(), Retry::Failing { pause: ms(5_000) }),
            (PathState::Reopened, Retry::Reopened { pause: ms(5_000) }),
        ] {
            retry = retry.after(&state);
            assert_eq!(retry, expected, "after {state:?}");
        }
        assert_eq!(Retry::Steady.after(&failed()), Retry::Failing { pause: ms(50) });
    }
}
