//! Brokers on this machine: the search at the default places, and the connection to a socket or a pipe.

use cardbroker_local::{
    discovery::{self, Finding},
    socket::{Place, SYSTEM_SOCKET, default_places, system_answers},
};
use tonic::transport::Channel;

#[cfg(unix)]
#[path = "unix.rs"]
mod os;
#[cfg(windows)]
#[path = "windows.rs"]
mod os;

pub(crate) use self::os::connect;
use crate::{Endpoint, Error, Tried};

/// Opens the first default place that works.
///
/// # Errors
/// [`Error::NotRunning`] with all places that were tried.
pub(crate) async fn find<F>(open: impl Fn(Place) -> F) -> Result<(Endpoint, Option<Place>, Channel), Error>
where
    F: Future<Output = Result<Channel, Finding>>,
{
    match discovery::search(&default_places(), open).await {
        Ok(((place, channel), _)) => Ok((os::endpoint(place.path.clone()), Some(place), channel)),
        Err(tried) => {
            let tried = tried.into_iter();
            let tried = tried.map(|(place, finding)| Tried { endpoint: os::endpoint(place.path), finding });
            Err(Error::NotRunning { tried: tried.collect() })
        }
    }
}

/// The endpoints at the default places, in their order.
pub(crate) fn defaults() -> Vec<Endpoint> {
    default_places().into_iter().map(|place| os::endpoint(place.path)).collect()
}

/// The system's broker, if it answers and this user can trust it.
pub(crate) fn system_broker() -> Option<Endpoint> {
    system_answers().then(|| os::endpoint(SYSTEM_SOCKET.into()))
}
