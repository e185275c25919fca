//! Real readers through PC/SC. Only this folder uses the crate `pcsc`.
//!
//! A card is held by an exclusive handle, never by a transaction (Windows resets a card whose transaction idles). The
//! handle is kept when the card leaves. On pcsc-lite `SCardReconnect` moves it to the next card, so no other program
//! can take that card at its insertion; where a system refuses it, each card gets a new connection. Only an exclusive
//! handle is kept: a DIRECT one on an empty reader excludes no other program, and making it exclusive waits inside
//! pcsc-lite's library, without limit, while another program uses the reader.
//!
//! The habits of Windows' and macOS' PC/SC that differ from pcsc-lite's are learned from the answers to calls;
//! `tests/harness/habits.rs` lists those that are tested.

pub mod check;
mod error;
mod monitor;
mod monitor_wait;
mod pace;
mod refusal;
mod ring;
mod slot;

use std::sync::{Arc, OnceLock};

use cardbroker_core::{pcsclite::chain::Chain, slot::SlotName};

pub use self::ring::service_socket;
use self::{
    error::RemovalCode,
    monitor::{PcscMonitor, establish},
    monitor_wait::MonitorWait,
    ring::{RingMonitor, ServiceChain, ask},
    slot::PcscSlot,
};
use super::{Backend, Monitor, Slot};

/// The PC/SC service of the operating system.
#[derive(Default)]
pub struct Pcsc {
    /// Ends the waits of the monitor.
    wait: Arc<MonitorWait>,
    /// The epoch of this run, once it is known.
    epoch: OnceLock<Arc<str>>,
    /// The brokers whose doors the service is.
    below: Arc<ServiceChain>,
    /// The moment of a removal that a transmission reports.
    removal: RemovalCode,
}

impl Pcsc {
    /// The PC/SC service of Linux, but its codes mean what they mean on other systems. For tests with PC/SC libraries
    /// that behave as those do.
    pub fn with_codes_of_others() -> Self {
        Self { removal: RemovalCode::Unclear, ..Self::default() }
    }
}

impl Backend for Pcsc {
    fn set_epoch(&self, epoch: &str) {
        // It stays the same.
        let _ = self.epoch.set(epoch.into());
    }

    fn monitor(&self) -> Box<dyn Monitor> {
        let monitor = PcscMonitor::new(establish, Arc::clone(&self.wait));
        Box::new(RingMonitor::new(monitor, ask, self.epoch.get().cloned(), Arc::clone(&self.below)))
    }

    fn brokers_below(&self) -> Chain {
        self.below.chain()
    }

    fn wake_monitor(&self) {
        self.wait.wake();
    }

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        Box::new(PcscSlot::new(name, Arc::clone(&self.wait), self.removal))
    }

    fn stops_with_last_reader(&self) -> bool {
        // From Windows 8 on. No answer to a call distinguishes such an end from a failure of the service.
        cfg!(windows)
    }
}
