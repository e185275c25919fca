//! The default pipe: its path has no folders that could be another user's, and its creation fails if the pipe is.

use std::path::Path;

use cardbroker_local::socket::{SYSTEM_SOCKET, system_answers};

use crate::listen::BindError;

/// Checks that there is a pipe to serve.
///
/// # Errors
/// [`BindError::Unfit`] if the path is empty, because the system does not tell the user of this process.
pub(in crate::listen) fn check(pipe: &Path) -> Result<(), BindError> {
    if pipe.as_os_str().is_empty() {
        let problem = "the system does not tell this process's user: name a pipe with --socket or listen.socket";
        return Err(BindError::Unfit { socket: pipe.into(), problem: problem.into() });
    }
    Ok(())
}

/// The pipe of the service's broker if that serves now and `own` is another one.
pub fn system_broker(own: &Path) -> Option<&'static Path> {
    let system = Path::new(SYSTEM_SOCKET);
    (own != system && system_answers()).then_some(system)
}
