//! Brokers at named pipes.

use std::{io, path::PathBuf, time::Duration};

use cardbroker_local::{
    discovery::Finding,
    socket::{Place, is_pipe},
    trust::judge_pipe,
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
        judge_pipe(&path, owner.as_str(), own.as_str())
            .map_err(|distrust| io::Error::other(Finding::Untrusted(distrust)))?;
    }
    Ok(TokioIo::new(pipe))
}

#[cfg(test)]
mod tests {
    use cardbroker_local::trust::Distrust;
    use cardbroker_pipe::{AccessList, NETWORK_SERVICE};

    use super::*;

    #[tokio::test]
    async fn a_pipe_of_another_user_gets_no_byte_at_a_default_place() {
        let name = format!(r"\\.\pipe\cardbroker\client-{}", std::process::id());
        let path = PathBuf::from(&name);
        let foreign = AccessList::parse(&format!("O:{NETWORK_SERVICE}D:P(A;;GA;;;WD)")).unwrap();
        let server = foreign.create(&name).unwrap();

        let place = Place { path: path.clone(), is_own: true };
        let refused = connect(path.clone(), Some(place)).await.unwrap_err();
        let finding = refused.get_ref().and_then(|error| error.downcast_ref::<Finding>());
        let distrust = Distrust::ForeignPipe(path.clone(), NETWORK_SERVICE.to_owned());
        assert_eq!(finding, Some(&Finding::Untrusted(distrust)));
        // The client has come and gone.
        let _ = server.connect().await;
        let read = server.try_read(&mut [0; 1]);
        assert!(!matches!(read, Ok(1..)), "{read:?}");

        server.disconnect().unwrap();
        let (connected, named) = tokio::join!(server.connect(), connect(path, None));
        connected.unwrap();
        assert!(named.is_ok(), "a pipe that was named is trusted as named");
    }
}
