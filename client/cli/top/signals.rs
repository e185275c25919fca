//! The signals of a full-screen program: those that end it, and those of a user who stops it for a while.

#[cfg(not(unix))]
pub(super) use other::Signals;
#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::{io, time::Duration};

    use rustix::process::{Signal, getpgrp, kill_process_group};
    use tokio::{
        signal::unix::{self, SignalKind, signal},
        time::timeout,
    };

    /// The longest time between the order to stop the process and the stop.
    const STOP_TIME: Duration = Duration::from_millis(500);

    /// Receives signals, whose usual effect is then off.
    pub(in crate::top) struct Signals {
        terminate: unix::Signal,
        hang_up: unix::Signal,
        interrupt: unix::Signal,
        continued: unix::Signal,
    }

    impl Signals {
        pub(in crate::top) fn new() -> io::Result<Self> {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                continued: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
            })
        }

        /// Completes when the program is to end (true), or goes on after a stop by another program (false).
        pub(in crate::top) async fn is_end(&mut self) -> bool {
            tokio::select! {
                _ = self.terminate.recv() => true,
                _ = self.hang_up.recv() => true,
                _ = self.interrupt.recv() => true,
                _ = self.continued.recv() => false,
            }
        }

        /// Stops the process group, as Ctrl-Z does outside of the full screen. Completes when it goes on.
        pub(in crate::top) async fn stop(&mut self) -> io::Result<()> {
            kill_process_group(getpgrp(), Signal::TSTP)?;
            // The system does not stop a group that nobody could continue.
            let _ = timeout(STOP_TIME, self.continued.recv()).await;
            Ok(())
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::{future::pending, io};

    /// Receives Ctrl-C, whose usual effect is then off.
    pub(in crate::top) struct Signals;

    impl Signals {
        pub(in crate::top) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Completes when the program is to end.
        pub(in crate::top) async fn is_end(&mut self) -> bool {
            // Without the signal there is still the key.
            if tokio::signal::ctrl_c().await.is_err() {
                pending::<()>().await;
            }
            true
        }

        /// Does nothing: this system stops no programs.
        pub(in crate::top) async fn stop(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
