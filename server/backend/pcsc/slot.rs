//! One reader behind PC/SC, and the exclusive handle that holds its card.

use std::{
    ffi::CString,
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    slot::{CardCommand, CardInfo, Protocol, ProtocolChoice, ResetKind, SlotError, SlotName},
};
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode};
use zeroize::Zeroize;

use super::{error::slot_error, monitor_wait::MonitorWait};
use crate::backend::{MAX_RESPONSE_BYTES, Slot};

/// How often the status after a reset is read until it has a protocol.
const STATUS_TRIES: usize = 5;

pub(super) struct PcscSlot {
    /// The reader's name in PC/SC.
    reader: CString,
    /// Also kept while the reader is empty. `None` before the first card, after a release, and when the service has
    /// lost the handle.
    handle: Option<Handle>,
    /// PC/SC's buffer for responses, wiped after each exchange.
    response: Vec<u8>,
    /// Learns of each status that is read here.
    monitor: Arc<MonitorWait>,
}

struct Handle {
    context: Context,
    card: Card,
}

impl PcscSlot {
    /// Creates a slot without a handle.
    pub(super) fn new(name: &SlotName, monitor: Arc<MonitorWait>) -> Self {
        // PC/SC's names come from C strings and contain no NUL.
        let reader = CString::new(name.bytes()).unwrap_or_default();
        Self { reader, handle: None, response: vec![0; MAX_RESPONSE_BYTES], monitor }
    }
}

impl Slot for PcscSlot {
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        match self.reconnect(Disposition::ResetCard, protocols) {
            // The card is not the cause: the handle has outlived the service or the reader.
            Err(SlotError::StaleHandle | SlotError::Service(_) | SlotError::ReaderGone) => {
                self.handle = None;
                self.connect(protocols)?;
                // A new handle does not mean an unused card: another program may have used it.
                self.reconnect(Disposition::ResetCard, protocols)
            }
            taken => taken,
        }
    }

    fn reset(&mut self, kind: ResetKind, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        match kind {
            ResetKind::Warm => {
                self.check_not_swapped()?;
                self.reconnect(Disposition::ResetCard, protocols)
            }
            ResetKind::Cold if self.handle.is_some() => {
                self.check_not_swapped()?;
                self.reconnect(Disposition::UnpowerCard, protocols)
            }
            ResetKind::Cold => {
                self.cut_power();
                self.take(protocols)
            }
        }
    }

    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError> {
        let Some(handle) = &self.handle else { return Err(SlotError::StaleHandle) };
        let (answer, used) = match handle.card.transmit(command.bytes(), &mut self.response) {
            // When the card is pulled during a command, some drivers report success with no bytes.
            Ok(response) if response.len() < 2 => {
                (Err(SlotError::Lost(format!("a response of {} bytes", response.len()))), response.len())
            }
            Ok(response) => (Ok(ApduBytes::from(response)), response.len()),
            // The buffer may contain a part of a response.
            Err(error) => (Err(slot_error(error)), self.response.len()),
        };
        self.response[..used].zeroize();
        answer
    }

    fn wait_removal(&mut self, timeout: Duration) -> bool {
        let Some(handle) = &self.handle else { return false };
        let _read = self.monitor.status_read();
        let deadline = Instant::now() + timeout;
        let mut state = [ReaderState::new(self.reader.clone(), pcsc::State::UNAWARE)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match handle.context.get_status_change(left, &mut state) {
                Ok(()) if !state[0].event_state().contains(pcsc::State::PRESENT) => return true,
                Ok(()) if left.is_zero() => return false,
                Ok(()) => state[0].sync_current_state(),
                Err(Error::UnknownReader | Error::ReaderUnavailable) => return true,
                Err(_) => return false,
            }
        }
    }

    fn release(&mut self) {
        if let Some(handle) = self.handle.take() {
            // It fails only if the service has stopped, and then the handle is void.
            let _ = handle.card.disconnect(Disposition::ResetCard);
        }
    }
}

impl PcscSlot {
    /// Makes the handle exclusive, resets the card, and reads its ATR and protocol, which may change at a reset.
    fn reconnect(&mut self, disposition: Disposition, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let handle = self.handle.as_mut().ok_or(SlotError::StaleHandle)?;
        handle.card.reconnect(ShareMode::Exclusive, pcsc_protocols(protocols), disposition).map_err(slot_error)?;
        let _read = self.monitor.status_read();
        card_info(|| handle.card.status2_owned().map(|status| (status.protocol2(), status.atr().to_vec())))
    }

    /// Fails if the taken card has left: reconnecting would take a later card without any error.
    fn check_not_swapped(&self) -> Result<(), SlotError> {
        let _read = self.monitor.status_read();
        match self.handle.as_ref().map(|handle| handle.card.status2_owned()) {
            Some(Err(Error::RemovedCard)) => Err(SlotError::CardRemoved),
            // The reset reports every other error.
            _ => Ok(()),
        }
    }

    /// Replaces the handle with a new, exclusive one.
    fn connect(&mut self, protocols: ProtocolChoice) -> Result<(), SlotError> {
        let context = Context::establish(Scope::System).map_err(slot_error)?;
        let card =
            context.connect(&self.reader, ShareMode::Exclusive, pcsc_protocols(protocols)).map_err(slot_error)?;
        self.handle = Some(Handle { card, context });
        Ok(())
    }

    /// Powers a mute card off and on. PC/SC grants no exclusive handle on a mute card, so this uses a shared one. An
    /// exclusive handle of another program would have failed the attempt to take the card before.
    fn cut_power(&self) {
        let direct = Context::establish(Scope::System)
            .and_then(|context| context.connect(&self.reader, ShareMode::Direct, Protocols::UNDEFINED));
        if let Ok(mut card) = direct {
            // The caller takes the card next, which shows the result.
            let _ = card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::UnpowerCard);
            let _ = card.disconnect(Disposition::LeaveCard);
        }
    }
}

/// Reads ATR and protocol of a card that was just reset from its `status`.
///
/// pcsc-lite's library keeps one copy of all readers' states for the whole process. The monitor's thread may overwrite
/// it with an older state, of the moment in which the reset had cleared the protocol. Then this reads it again.
fn card_info(
    mut status: impl FnMut() -> Result<(Option<pcsc::Protocol>, Vec<u8>), Error>,
) -> Result<CardInfo, SlotError> {
    for _ in 0..STATUS_TRIES {
        let (protocol, atr) = match status() {
            // The ATR has grown between the query of its length and the query of its bytes.
            Err(Error::InsufficientBuffer) => continue,
            status => status.map_err(slot_error)?,
        };
        let protocol = match protocol {
            Some(pcsc::Protocol::T0) => Protocol::T0,
            Some(pcsc::Protocol::T1) => Protocol::T1,
            Some(pcsc::Protocol::RAW) => Protocol::Raw,
            None => continue,
        };
        return Ok(CardInfo { atr, protocol });
    }
    Err(SlotError::Mute("PC/SC reports no protocol after the reset".into()))
}

fn pcsc_protocols(choice: ProtocolChoice) -> Protocols {
    match choice {
        ProtocolChoice::Any => Protocols::ANY,
        ProtocolChoice::T0 => Protocols::T0,
        ProtocolChoice::T1 => Protocols::T1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_a_protocol_is_read_again() {
        let t0 = || Ok((Some(pcsc::Protocol::T0), vec![0x3B]));
        let mixed_up = || Ok((None, vec![0x3B]));
        let mut answers = [mixed_up(), Err(Error::InsufficientBuffer), t0()].into_iter();
        let card = card_info(|| answers.next().unwrap()).unwrap();
        assert_eq!((card.protocol, card.atr), (Protocol::T0, vec![0x3B]));
        let mut reads = 0;
        let never = card_info(|| {
            reads += 1;
            mixed_up()
        });
        assert!(matches!(never, Err(SlotError::Mute(_))));
        assert_eq!(reads, STATUS_TRIES);
        assert_eq!(card_info(|| Err(Error::RemovedCard)), Err(SlotError::CardRemoved));
    }
}
