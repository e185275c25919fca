//! The events of the console, all of which stop the daemon, or for a service the requests of the service control
//! manager.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown,
};

use super::Signal;
use crate::process::windows_service::{Service, current};

/// The receiver of the requests to stop and to reload.
pub struct Signals(Source);

enum Source {
    Console(Console),
    Manager(&'static Service),
}

/// Ctrl-C, Ctrl-Break, and the ends of the console, of the user's session and of the system.
struct Console {
    interrupt: CtrlC,
    break_key: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Installs the handlers. A service has none for a console, which it lacks.
    ///
    /// # Errors
    /// The system does not deliver events to this process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(match current() {
            Some(service) => Source::Manager(service),
            None => Source::Console(Console {
                interrupt: ctrl_c()?,
                break_key: ctrl_break()?,
                close: ctrl_close()?,
                logoff: ctrl_logoff()?,
                shutdown: ctrl_shutdown()?,
            }),
        }))
    }

    /// Waits for the next request. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Source::Manager(service) => service.next().await,
            Source::Console(console) => {
                tokio::select! {
                    _ = console.interrupt.recv() => Signal::Stop,
                    _ = console.break_key.recv() => Signal::Stop,
                    _ = console.close.recv() => Signal::End,
                    _ = console.logoff.recv() => Signal::End,
                    _ = console.shutdown.recv() => Signal::End,
                }
            }
        }
    }
}
