//! Real readers through PC/SC. Only this folder uses the crate `pcsc`.
//!
//! A card is held by an exclusive handle, never by a transaction (Windows resets a card whose transaction idles). On
//! pcsc-lite the handle is kept when the card leaves, and `SCardReconnect` moves it to the next card, so no other
//! program can take that card at its insertion. Only an exclusive handle is kept: a DIRECT one on an empty reader
//! excludes no other program, and making it exclusive waits inside pcsc-lite's library, without limit, while another
//! program uses the reader.

mod error;
mod monitor;
mod slot;

use self::{monitor::PcscMonitor, slot::PcscSlot};
use super::{Backend, Monitor, Slot};

/// The PC/SC service of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pcsc;

impl Backend for Pcsc {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::<PcscMonitor>::default()
    }

    fn slot(&self, display_name: &str) -> Box<dyn Slot> {
        Box::new(PcscSlot::new(display_name))
    }
}
