//! The card stack that the broker needs. `pcsc` drives real readers, `simulated` drives readers and cards inside the
//! process; both implement [`Backend`], and no module above this folder can distinguish them.

pub mod pcsc;
pub mod simulated;

use std::time::Duration;

use cardbroker_core::{
    apdu::ApduBytes,
    pcsclite::chain::Chain,
    slot::{CardCommand, CardInfo, ProtocolChoice, ResetKind, ServiceError, SlotError, SlotName, SlotStatus},
};

/// Bytes of the response buffer: an extended-length response with its status word and slack (the largest PC/SC message
/// of pcsc-lite).
pub const MAX_RESPONSE_BYTES: usize = 65_548;

/// A card stack. Each of its parts has a thread of its own, so every call may block.
pub trait Backend: Send + Sync + 'static {
    /// Tells the stack the epoch of this run, by which it finds a broker that is its own stack. Comes before the
    /// monitor of that run.
    fn set_epoch(&self, _epoch: &str) {}

    /// Creates a monitor of all slots, for the monitor thread.
    fn monitor(&self) -> Box<dyn Monitor>;

    /// The epochs of the brokers that provide the stack, the nearest first.
    fn brokers_below(&self) -> Chain {
        Chain::default()
    }

    /// Ends the monitor's current wait early, or its next one. May miss a wait that is just beginning.
    fn wake_monitor(&self);

    /// Creates the slot of a reader that a monitor has reported, for that reader's card thread. At most one per reader.
    fn slot(&self, name: &SlotName) -> Box<dyn Slot>;

    /// Whether the stack stops when its last reader is unplugged, so that no readers are left while it is down.
    fn stops_with_last_reader(&self) -> bool {
        false
    }
}

/// Monitors the readers and their cards.
pub trait Monitor: Send {
    /// Returns the status of all slots: at once on the first call, later when it differs from the last returned one,
    /// after `timeout`, or after [`Backend::wake_monitor`].
    ///
    /// # Errors
    /// [`ServiceError`] when the stack is down. The next call starts afresh; the caller paces the calls.
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError>;
}

/// One slot of a reader. Only its card thread calls it.
pub trait Slot: Send {
    /// Takes the card exclusively and resets it (warm). Works from any state: the first time, with the handle of the
    /// previous card, after a failed exchange, after a restart of the stack. Call it only after the monitor has seen a
    /// card: pcscd powers a card again when it notices it later, and forgets the negotiated protocol.
    ///
    /// # Errors
    /// [`SlotError::NoCard`] when the slot is empty, [`SlotError::Held`] when another program has the card.
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError>;

    /// Resets the taken card and reads ATR and protocol again, because both may have changed.
    ///
    /// # Errors
    /// The same as of [`Slot::take`]; the card must then be taken again.
    fn reset(&mut self, kind: ResetKind, protocols: ProtocolChoice) -> Result<CardInfo, SlotError>;

    /// Sends one admitted command APDU (on T=0 a TPDU) to the taken card and returns the response, status word
    /// included.
    ///
    /// # Errors
    /// Any; [`SlotError::delivery`] tells whether the command may have run. The card must then be taken again.
    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError>;

    /// Waits until the card is removed, at most `timeout`. Returns whether it is.
    fn wait_removal(&mut self, timeout: Duration) -> bool;

    /// Releases the card for other programs, with a reset, so that no security state is left.
    fn release(&mut self);
}
