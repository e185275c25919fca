//! Whether the system refuses a second first instance of a named pipe, by which two brokers are told apart.

use crate::backend::pcsc::check::Line;

const STEP: &str = "second pipe";

#[cfg(windows)]
pub(super) fn line() -> Line {
    use std::{io, process};

    use cardbroker_pipe::Access;

    let tried = || -> io::Result<io::Result<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        let (access, name) = (Access::new(None)?, format!(r"\\.\pipe\cardbroker-check-{}", process::id()));
        let _first = access.create(&name, true)?;
        Ok(access.create(&name, true).map(drop))
    };
    match tried() {
        Ok(Err(error)) => Line::seen(STEP, true, format!("refused: {error}")),
        Ok(Ok(())) => Line::seen(STEP, false, "a second first instance of a pipe is not refused"),
        Err(error) => Line::seen(STEP, false, format!("no pipe can be made: {error}")),
    }
}

/// Only Windows has such pipes; other systems have sockets.
#[cfg(not(windows))]
pub(super) fn line() -> Line {
    Line::skipped(STEP, "this system has no named pipes of Windows")
}
