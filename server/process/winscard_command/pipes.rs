//! Named pipes: whether the system lets only one broker take a name, and whether the name is free again after a broker
//! whose client still holds its end.

use crate::backend::pcsc::check::Line;

const SECOND: &str = "second pipe";
const LEFT: &str = "left pipe";

#[cfg(windows)]
pub(super) fn lines() -> [Line; 2] {
    let or_failed = |step, line: std::io::Result<Line>| {
        line.unwrap_or_else(|error| Line::seen(step, false, format!("no pipe can be made: {error}")))
    };
    [or_failed(SECOND, os::second()), or_failed(LEFT, os::left())]
}

/// Only Windows has such pipes; other systems have sockets.
#[cfg(not(windows))]
pub(super) fn lines() -> [Line; 2] {
    [SECOND, LEFT].map(|step| Line::skipped(step, "this system has no named pipes of Windows"))
}

#[cfg(windows)]
mod os {
    use std::{
        io, process,
        time::{Duration, Instant},
    };

    use cardbroker_pipe::{AccessList, connect};
    use tokio::{net::windows::named_pipe::NamedPipeServer, runtime::Builder, time::sleep};

    use super::{LEFT, Line, SECOND};

    /// How long a first instance is tried again, and the pause between two tries.
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(10);

    fn name(test: &str) -> String {
        format!(r"\\.\pipe\cardbroker-check-{test}-{}", process::id())
    }

    /// Tries a second first instance while there is a first one.
    pub(super) fn second() -> io::Result<Line> {
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let (access, name) = (AccessList::new(None)?, name("second"));
            let _first = access.create(&name)?;
            Ok(match access.create(&name) {
                Err(error) => Line::seen(SECOND, true, format!("refused: {error}")),
                Ok(_) => Line::seen(SECOND, false, "a second first instance of a pipe is not refused"),
            })
        })
    }

    /// Tries a first instance after another one that was closed, while its client holds the other end: without and with
    /// a disconnection before.
    pub(super) fn left() -> io::Result<Line> {
        let (closed, _) = after("closed", |_| Ok(()))?;
        let (disconnected, is_granted) = after("disconnected", NamedPipeServer::disconnect)?;
        Ok(Line::seen(LEFT, is_granted, format!("beside a client's end: {closed}; {disconnected}")))
    }

    /// The answer to a first instance after one that ended so, and whether it is granted.
    fn after(end: &str, prepare: impl FnOnce(&NamedPipeServer) -> io::Result<()>) -> io::Result<(String, bool)> {
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let (access, name) = (AccessList::new(None)?, name(end));
            let first = access.create(&name)?;
            let _client = connect(&name)?;
            first.connect().await?;
            prepare(&first)?;
            drop(first);
            let begin = Instant::now();
            loop {
                let (again, took) = (access.create(&name), begin.elapsed());
                let ms = took.as_millis();
                match again {
                    Ok(_) => return Ok((format!("{end}, granted after {ms} ms"), true)),
                    Err(error) if took > PATIENCE => {
                        return Ok((format!("{end}, refused for {ms} ms: {error}"), false));
                    }
                    // The runtime closes its handle meanwhile.
                    Err(_) => sleep(PAUSE).await,
                }
            }
        })
    }
}
