//! The listening socket and its path: a socket that was removed or replaced while the broker runs is opened again.
//!
//! Connections are not affected. Clients that wait in the backlog of the old socket are still accepted.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardbroker_core::caller::Caller;
use tokio::{
    net::UnixListener,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

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
pub struct SocketGuard {
    place: SharedPlace,
    _watch: AbortOnDropHandle<()>,
}

/// The place of the socket, owned by the guard; `None` once that was dropped.
type SharedPlace = Arc<Mutex<Option<SocketPlace>>>;

/// Starts to watch the path of `socket`. The watch ends with the listener or with the guard.
pub(super) fn start(socket: UnixListener, place: SocketPlace) -> io::Result<(Listener, SocketGuard)> {
    let current = Current::new(Some(Arc::new(socket)));
    let place = Arc::new(Mutex::new(Some(place)));
    let task = tokio::spawn(watch_place(Arc::clone(&place), current.clone()));
    Ok((Listener(current), SocketGuard { place, _watch: AbortOnDropHandle::new(task) }))
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

async fn watch_place(place: SharedPlace, current: Current) {
    let mut end = current.subscribe();
    tokio::select! {
        _ = end.wait_for(Option::is_none) => {}
        () = keep(&place, &current) => {}
    }
}

/// Opens the socket again whenever its path does not name it any more, until the guard is dropped.
async fn keep(place: &SharedPlace, current: &Current) {
    let (mut pause, mut failing, mut blind) = (SHORTEST_PAUSE, false, false);
    loop {
        // Before the look at the path, so that no change falls between them.
        let Some(changes) = lock(place).as_ref().map(|place| FolderWatch::start(place.socket())) else { return };
        let Some(taken) = lock(place).as_mut().map(take_if_lost) else { return };
        match taken {
            Ok(None) => {
                let noticed = match changes {
                    Ok(mut changes) if pause == SHORTEST_PAUSE => changes.next().await,
                    // A folder that is being removed may take the new socket with it, without a notice of its own.
                    Ok(mut changes) => timeout(LONGEST_PAUSE, changes.next()).await.unwrap_or_else(|_| {
                        pause = SHORTEST_PAUSE;
                        Ok(())
                    }),
                    Err(error) => Err(error),
                };
                if let Err(error) = noticed {
                    if !mem::replace(&mut blind, true) {
                        tracing::warn!(%error, "cannot watch the socket's folder: raise fs.inotify.max_user_instances");
                    }
                    sleep(LONGEST_PAUSE).await;
                }
            }
            Ok(Some(socket)) => {
                failing = false;
                current.send_if_modified(|current| current.as_mut().map(|current| *current = socket).is_some());
                pause = rest(pause).await;
            }
            Err(problem) => {
                if !mem::replace(&mut failing, true) {
                    tracing::error!("the socket was removed or replaced, and new clients find no broker: {problem}");
                }
                pause = rest(pause).await;
            }
        }
    }
}

/// Waits for `pause`; returns the next one.
async fn rest(pause: Duration) -> Duration {
    sleep(pause).await;
    LONGEST_PAUSE.min(pause * 2)
}

/// Opens the socket again if its path does not name it any more.
fn take_if_lost(place: &mut SocketPlace) -> Result<Option<Arc<UnixListener>>, BindError> {
    if place.is_held() {
        return Ok(None);
    }
    let socket = place.take_again()?;
    tracing::warn!(socket = %place.socket().display(), "the socket was removed or replaced: listening again");
    let source = |source| BindError::Io { socket: place.socket().into(), action: "open the socket", source };
    Ok(Some(Arc::new(UnixListener::from_std(socket).map_err(source)?)))
}
