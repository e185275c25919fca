//! The default socket: whether there is one that clients would trust, and whether the system's broker serves beside it.

use std::path::Path;

use cardbroker_local::{
    socket::{SYSTEM_SOCKET, default_places, system_answers},
    trust::{Obstacle, walk},
};
use rustix::process::geteuid;

use crate::listen::BindError;

/// Checks that there is a socket to listen on, and that clients would trust it if it is a default one.
///
/// # Errors
/// [`BindError::NoSocket`] or [`BindError::Unfit`].
pub(in crate::listen) fn check(socket: &Path) -> Result<(), BindError> {
    let user = geteuid().as_raw();
    if socket.as_os_str().is_empty() {
        return Err(BindError::NoSocket { user });
    }
    let walked = default_places().iter().find(|place| place.path == socket).map(|place| walk(place, user));
    match walked {
        Some(Err(Obstacle::Untrusted(distrust))) => {
            let problem = format!("clients do not trust this path: {distrust}: correct that, or use --socket");
            Err(BindError::Unfit { socket: socket.into(), problem })
        }
        _ => Ok(()),
    }
}

/// The socket of the system's broker if that answers now and `own` is another one.
pub fn system_broker(own: &Path) -> Option<&'static Path> {
    let system = Path::new(SYSTEM_SOCKET);
    (own != system && system_answers()).then_some(system)
}
