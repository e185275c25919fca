//! The listening socket and its path: a socket that was removed or replaced while the broker runs is opened again.
//!
//! Connections are not affected. Clients that wait in the backlog of the old socket are still accepted. If another
//! broker has taken the path, with its lock, the broker gives up: two brokers would fight over the readers. It also
//! gives up if the service manager has opened the socket: only that can make it again.

use std::{io, os::unix::net, path::Path, sync::Arc};

use cardbroker_core::caller::Caller;
use tokio::{net::UnixListener, sync::watch};

use super::{
    bound::{SocketPlace, Stream},
    inherited::InheritedPlace,
    path_watch::{Kept, PathGuard, PathState},
    peer_process,
};
use crate::listen::BindError;

/// The socket in use; `None` when no client is accepted any more.
type Current = watch::Sender<Option<Arc<UnixListener>>>;

/// The socket, while clients are accepted. Dropping it closes the socket and ends the watch of its path.
#[derive(Debug)]
pub(in crate::listen) struct Listener(Current);

/// The socket at its path, and the place to put a new one for clients to be accepted from.
#[derive(Debug)]
pub(super) struct KeptSocket {
    place: SocketPlace,
    current: Current,
}

/// Starts to watch the path of `socket`. The watch ends with the listener or with the guard.
pub(super) fn start(socket: UnixListener, place: SocketPlace) -> (Listener, PathGuard<KeptSocket>) {
    let (listener, end) = listen_on(socket);
    let guard = PathGuard::start(KeptSocket { place, current: listener.0.clone() }, end);
    (listener, guard)
}

/// Starts to watch the path of an inherited socket, which is not made again. The watch ends with the listener or with
/// the guard. Must be called inside a runtime.
///
/// # Errors
/// The runtime cannot take the socket.
pub(super) fn start_inherited(
    socket: net::UnixListener,
    place: InheritedPlace,
) -> io::Result<(Listener, PathGuard<InheritedPlace>)> {
    let (listener, end) = listen_on(UnixListener::from_std(socket)?);
    Ok((listener, PathGuard::start(place, end)))
}

/// Starts to listen on a socket whose path is not watched.
pub(super) fn unwatched(socket: UnixListener) -> Listener {
    listen_on(socket).0
}

/// The listener on a socket, and its end.
fn listen_on(socket: UnixListener) -> (Listener, impl Future<Output = ()> + Send + 'static) {
    let current = Current::new(Some(Arc::new(socket)));
    let mut listening = current.subscribe();
    let end = async move { _ = listening.wait_for(Option::is_none).await };
    (Listener(current), end)
}

impl Listener {
    /// Accepts the next client. Its connection gets the `next` number.
    pub(in crate::listen) async fn accept(&self, next: impl FnOnce() -> u64) -> io::Result<(Stream, Caller)> {
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

impl Kept for KeptSocket {
    const LOSS: &'static str = "the socket was removed or replaced, and new clients find no broker";

    fn path(&self) -> &Path {
        self.place.socket()
    }

    fn check(&mut self) -> PathState {
        let place = &mut self.place;
        if place.is_held() {
            return PathState::Held;
        }
        let opened = place.take_again().and_then(|socket| {
            let source = |source| BindError::Io { socket: place.socket().into(), action: "open the socket", source };
            UnixListener::from_std(socket).map_err(source)
        });
        match opened {
            Ok(socket) => {
                let path = place.socket().display();
                tracing::warn!(socket = %path, "the socket was removed or replaced: listening again");
                let socket = Arc::new(socket);
                self.current.send_if_modified(|current| current.as_mut().map(|current| *current = socket).is_some());
                PathState::Restored
            }
            Err(BindError::AlreadyRunning { .. }) if place.is_served() => PathState::Taken,
            Err(problem) => PathState::Failed(problem),
        }
    }
}
