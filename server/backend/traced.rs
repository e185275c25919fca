//! A card stack with the APDU trace switched on: wraps another stack and logs each exchange and each reset.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::{ApduBytes, ApduMask, SecretInstructions},
    slot::{CardCommand, CardInfo, ProtocolChoice, ResetKind, SlotError, SlotName},
};
use tracing::trace;

use super::{Backend, Monitor, Slot};

/// The log target of the trace, with all lines at level `trace`.
pub const TARGET: &str = "cardbroker::apdu";

/// Another card stack, with a trace.
pub struct Traced {
    stack: Arc<dyn Backend>,
    secrets: SecretInstructions,
}

impl Traced {
    /// Wraps `stack` and logs each exchange; of commands in `secrets` it shows header, lengths and status word.
    pub fn new(stack: Arc<dyn Backend>, secrets: SecretInstructions) -> Self {
        Self { stack, secrets }
    }
}

impl Backend for Traced {
    fn monitor(&self) -> Box<dyn Monitor> {
        self.stack.monitor()
    }

    fn wake_monitor(&self) {
        self.stack.wake_monitor();
    }

    fn slot(&self, name: &SlotName) -> Box<dyn Slot> {
        let (slot, mask) = (self.stack.slot(name), ApduMask::new(self.secrets.clone()));
        Box::new(TracedSlot { slot, mask, display_name: name.shown().into() })
    }
}

struct TracedSlot {
    slot: Box<dyn Slot>,
    mask: ApduMask,
    display_name: String,
}

impl Slot for TracedSlot {
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let (taken, microseconds) = timed(|| self.slot.take(protocols));
        self.log_reset("taken and reset", &taken, microseconds);
        taken
    }

    fn reset(&mut self, kind: ResetKind, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let (reset, microseconds) = timed(|| self.slot.reset(kind, protocols));
        self.log_reset("reset", &reset, microseconds);
        reset
    }

    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError> {
        let shown = self.mask.command(command.bytes());
        let (answer, microseconds) = timed(|| self.slot.exchange(command));
        let response = match &answer {
            Ok(response) => self.mask.response(response),
            Err(error) => error.to_string(),
        };
        trace!(target: TARGET, display_name = self.display_name, command = shown, response, microseconds, "exchange");
        answer
    }

    fn wait_removal(&mut self, timeout: Duration) -> bool {
        self.slot.wait_removal(timeout)
    }

    fn release(&mut self) {
        self.slot.release();
    }
}

impl TracedSlot {
    fn log_reset(&self, what: &str, card: &Result<CardInfo, SlotError>, microseconds: u64) {
        let response = match card {
            Ok(card) => format!("ATR of {} bytes, {:?}", card.atr.len(), card.protocol),
            Err(error) => error.to_string(),
        };
        trace!(target: TARGET, display_name = self.display_name, response, microseconds, "{what}");
    }
}

/// Returns the result of a call, and its duration in microseconds.
fn timed<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let began = Instant::now();
    let result = call();
    (result, u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
}
