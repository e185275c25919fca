//! What the broker needs of a card stack. `pcsc` drives real readers, `simulated` readers and cards inside the process; both
//! are equal citizens behind [`Backend`], and nothing above this folder can tell them apart.

pub mod pcsc;
pub mod simulated;
pub mod traced;

use std::time::Duration;

use cardbroker_core::{
    apdu::ApduBytes,
    slot::{CardCommand, CardInfo, ProtocolChoice, ResetKind, ServiceError, SlotError, SlotStatus},
};

/// The largest response that a reader is offered room for, in bytes: an extended-length answer with its status word and slack
/// (PC/SC's largest message on pcsc-lite).
pub const MAX_RESPONSE_BYTES: usize = 65_548;

/// A card stack. Its parts are driven by threads of their own, so every call may block.
pub trait Backend: Send + Sync + 'static {
    /// A new monitor of all slots, for the monitor thread.
    fn monitor(&self) -> Box<dyn Monitor>;

    /// The slot of a reader that a monitor has named, for that reader's card thread. At most one per reader.
    fn slot(&self, display_name: &str) -> Box<dyn Slot>;
}

/// Watches which readers there are and what is in them.
pub trait Monitor: Send {
    /// The whole picture: at once on the first call, then when it differs from the one returned last or when `timeout` is over.
    ///
    /// # Errors
    /// [`ServiceError`] when the stack is down. The next call starts afresh; the caller paces the calls.
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError>;
}

/// One slot of a reader, driven by its card thread alone: the only hand on the card.
pub trait Slot: Send {
    /// Takes the card exclusively and resets it (warm). Works from any state: the first time, with the hold on a card before, after a
    /// failed exchange, after a restart of the stack. Call it once the monitor has seen a card: pcscd powers a card that it has not
    /// noticed yet a second time when it does, and forgets what was agreed with it.
    ///
    /// # Errors
    /// [`SlotError::NoCard`] when the slot is empty, [`SlotError::Held`] when another program has the card.
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError>;

    /// Resets the card that was taken and reads ATR and protocol again, for both may have changed.
    ///
    /// # Errors
    /// As [`Slot::take`]; the card must then be taken again.
    fn reset(&mut self, kind: ResetKind, protocols: ProtocolChoice) -> Result<CardInfo, SlotError>;

    /// Sends one command APDU (T=0: TPDU), which the gate has admitted, to the card that was taken and returns the answer, status word included.
    ///
    /// # Errors
    /// Any; [`SlotError::delivery`] says whether the command may have run. The card must then be taken again.
    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError>;

    /// Waits until the card is gone, at most `timeout`; true if it is.
    fn wait_removal(&mut self, timeout: Duration) -> bool;

    /// Lets the card go (reset, so that no security state is left) for other programs.
    fn release(&mut self);
}
