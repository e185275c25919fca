//! The events of the console, all of which stop the daemon, or for a service the requests of the service control
//! manager.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

use super::Signal;
use crate::process::windows_service::{Service, current};

/// The receiver of the requests to stop and to reload.
pub struct Signals(Source);

enum Source {
    Console(Console),
    Manager(&'static Service),
}

/// Ctrl-C, Ctrl-Break, the end of the console, and the end of the system.
struct Console {
    interrupt: CtrlC,
    break_key: CtrlBreak,
    close: CtrlClose,
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
                    _ = console.interrupt.recv() => {}
                    _ = console.break_key.recv() => {}
                    _ = console.close.recv() => {}
                    _ = console.shutdown.recv() => {}
                }
                Signal::Stop
            }
        }
    }
}
