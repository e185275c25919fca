//! Brokers at Unix sockets.

use std::{io, path::PathBuf};

use cardbroker_local::{
    discovery::Finding,
    socket::{MAX_PATH_BYTES, Place},
    trust::{judge_peer, walk},
};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use tokio::net::UnixStream;

use crate::{
    Endpoint,
    quiet::{Quiet, quiet},
};

/// The endpoint at the path of a place.
pub(super) fn endpoint(path: PathBuf) -> Endpoint {
    Endpoint::Unix(path)
}

/// Connects to a socket. A default `place` must be trusted first, and so must the process that serves there.
///
/// # Errors
/// An error around a `Finding`.
pub(crate) async fn connect(path: PathBuf, place: Option<Place>) -> io::Result<TokioIo<Quiet<UnixStream>>> {
    use std::os::unix::ffi::OsStrExt;
    if path.as_os_str().as_bytes().len() > MAX_PATH_BYTES {
        return Err(io::Error::other(Finding::TooLong));
    }
    let user = geteuid().as_raw();
    let owner = place.map(|place| walk(&place, user).map_err(|obstacle| Finding::of_walk(obstacle, &place)));
    let owner = owner.transpose().map_err(io::Error::other)?;
    let failed = |error| io::Error::other(Finding::of(&error, Some(&path)));
    let stream = UnixStream::connect(&path).await.map_err(failed)?;
    if let Some(owner) = owner {
        let peer = stream.peer_cred()?.uid();
        judge_peer(user, owner, peer).map_err(|distrust| io::Error::other(Finding::Untrusted(distrust)))?;
    }
    Ok(TokioIo::new(quiet(stream)))
}
