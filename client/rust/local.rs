//! Brokers on this machine: the search at the default places, and the connection to a socket.

use std::{io, path::PathBuf};

use cardbroker_local::socket::Place;
#[cfg(unix)]
use cardbroker_local::{
    discovery::{self, Finding},
    socket::{MAX_PATH_BYTES, SYSTEM_SOCKET, default_places, system_answers},
    trust::{judge_peer, walk},
};
use hyper_util::rt::TokioIo;
#[cfg(unix)]
use rustix::process::geteuid;
use tonic::transport::Channel;

#[cfg(unix)]
use crate::Tried;
use crate::{Endpoint, Error};

/// Opens the first default place that works.
///
/// # Errors
/// [`Error::NotRunning`] with all places that were tried.
#[cfg(unix)]
pub(crate) async fn find<F>(open: impl Fn(Place) -> F) -> Result<(Endpoint, Option<Place>, Channel), Error>
where
    F: Future<Output = Result<Channel, Finding>>,
{
    match discovery::search(&default_places(), open).await {
        Ok(((place, channel), _)) => Ok((Endpoint::Unix(place.path.clone()), Some(place), channel)),
        Err(tried) => {
            let tried =
                tried.into_iter().map(|(place, finding)| Tried { endpoint: Endpoint::Unix(place.path), finding });
            Err(Error::NotRunning { tried: tried.collect() })
        }
    }
}

/// The sockets at the default places, in their order.
#[cfg(unix)]
pub(crate) fn default_paths() -> Vec<PathBuf> {
    default_places().into_iter().map(|place| place.path).collect()
}

/// Connects to a socket. A default `place` must be trusted first, and so must the process that serves there.
///
/// # Errors
/// An error around a `Finding`.
#[cfg(unix)]
pub(crate) async fn connect(path: PathBuf, place: Option<Place>) -> io::Result<TokioIo<tokio::net::UnixStream>> {
    use std::os::unix::ffi::OsStrExt;
    if path.as_os_str().as_bytes().len() > MAX_PATH_BYTES {
        return Err(io::Error::other(Finding::TooLong));
    }
    let user = geteuid().as_raw();
    let owner = place.map(|place| walk(&place, user).map_err(|obstacle| Finding::of_walk(obstacle, &place)));
    let owner = owner.transpose().map_err(io::Error::other)?;
    let failed = |error| io::Error::other(Finding::of(&error, Some(&path)));
    let stream = tokio::net::UnixStream::connect(&path).await.map_err(failed)?;
    if let Some(owner) = owner {
        let peer = stream.peer_cred()?.uid();
        judge_peer(user, owner, peer).map_err(|distrust| io::Error::other(Finding::Untrusted(distrust)))?;
    }
    Ok(TokioIo::new(stream))
}

/// The system's broker, if it answers and this user can trust it.
#[cfg(unix)]
pub(crate) fn system_broker() -> Option<Endpoint> {
    system_answers().then(|| Endpoint::Unix(SYSTEM_SOCKET.into()))
}

/// Platforms without Unix sockets have no default places: the variable must be set.
#[cfg(not(unix))]
pub(crate) async fn find<F>(_: impl Fn(Place) -> F) -> Result<(Endpoint, Option<Place>, Channel), Error> {
    Err(crate::EndpointError::none().into())
}

#[cfg(not(unix))]
pub(crate) fn default_paths() -> Vec<PathBuf> {
    Vec::new()
}

#[cfg(not(unix))]
pub(crate) async fn connect(_: PathBuf, _: Option<Place>) -> io::Result<TokioIo<tokio::net::TcpStream>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
pub(crate) fn system_broker() -> Option<Endpoint> {
    None
}
