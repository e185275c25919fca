//! Brokers at named pipes.

use std::{io, path::PathBuf, time::Duration};

use cardbroker_local::{
    discovery::Finding,
    socket::{Place, TRUSTED_OWNERS, is_pipe},
    trust::Distrust,
};
use cardbroker_pipe::{is_busy, own_user, owner_of_pipe};
use hyper_util::rt::TokioIo;
use tokio::{net::windows::named_pipe::NamedPipeClient, time::sleep};

use crate::Endpoint;

/// The pause before the next try of a busy pipe.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The endpoint at the path of a place.
pub(super) fn endpoint(path: PathBuf) -> Endpoint {
    Endpoint::Pipe(path)
}

/// Connects to a pipe, and waits while it is busy. A pipe at a default `place` must belong to this user, to the system
/// or to the administrators: any user can make a pipe of that name first.
///
/// # Errors
/// An error around a `Finding`.
pub(crate) async fn connect(path: PathBuf, place: Option<Place>) -> io::Result<TokioIo<NamedPipeClient>> {
    let failed = |error: io::Error| io::Error::other(Finding::of(&error, Some(&path)));
    let name = path.to_str().filter(|name| is_pipe(name)).ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    let pipe = loop {
        match cardbroker_pipe::connect(name) {
            Ok(pipe) => break pipe,
            // The caller ends this with its time for an attempt.
            Err(error) if is_busy(&error) => sleep(BUSY_PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    };
    if place.is_some() {
        let (owner, own) = (owner_of_pipe(&pipe).map_err(failed)?, own_user().map_err(failed)?);
        if owner != own && !TRUSTED_OWNERS.contains(&owner.as_str()) {
            let distrust = Distrust::ForeignPipe(path.clone(), owner.to_string());
            return Err(io::Error::other(Finding::Untrusted(distrust)));
        }
    }
    Ok(TokioIo::new(pipe))
}
