//! One reader behind PC/SC, and the exclusive handle that holds its card.

use std::{
    ffi::CString,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    slot::{CardCommand, CardInfo, Protocol, ProtocolChoice, ResetKind, SlotError, SlotName},
};
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode};
use zeroize::Zeroize;

use super::{
    error::{RemovalCode, slot_error, transmit_error},
    monitor_wait::MonitorWait,
    pace::pause,
    refusal::Refusal,
};
use crate::backend::{MAX_RESPONSE_BYTES, Slot};

/// How often the status after a reset is read until it has a protocol.
const STATUS_TRIES: usize = 5;
/// Room for the names of one reader. pcsc-lite's have at most 128 bytes.
const MAX_NAMES_BYTES: usize = 1024;

pub(super) struct PcscSlot {
    /// The reader's name in PC/SC.
    reader: CString,
    /// Also kept while the reader is empty. `None` before the first card, after a release, and when PC/SC refuses the
    /// handle.
    handle: Option<Handle>,
    /// PC/SC's buffer for responses, wiped after each exchange.
    response: Vec<u8>,
    /// Learns of each status that is read here.
    monitor: Arc<MonitorWait>,
    /// The moment of a removal that a transmission reports.
    removal: RemovalCode,
}

struct Handle {
    context: Context,
    card: Card,
}

impl PcscSlot {
    /// Creates a slot without a handle.
    pub(super) fn new(name: &SlotName, monitor: Arc<MonitorWait>, removal: RemovalCode) -> Self {
        // PC/SC's names come from C strings and contain no NUL.
        let reader = CString::new(name.bytes()).unwrap_or_default();
        Self { reader, handle: None, response: vec![0; MAX_RESPONSE_BYTES], monitor, removal }
    }
}

impl Slot for PcscSlot {
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let mut taken = self.reconnect(Disposition::ResetCard, protocols);
        if refusal(&taken, protocols) == Some(Refusal::WithoutCard) {
            if !self.sees_card() {
                return taken;
            }
            // The card may have come after the first call.
            taken = self.reconnect(Disposition::ResetCard, protocols);
        }
        match refusal(&taken, protocols) {
            None | Some(Refusal::OfCard) => taken,
            Some(Refusal::WithoutCard | Refusal::OfHandle) => {
                self.handle = None;
                self.connect(protocols)?;
                // A new handle does not mean an unused card: another program may have used it.
                self.reconnect(Disposition::ResetCard, protocols)
            }
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
                self.cut_power()?;
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
            Err(error) => (Err(transmit_error(error, self.removal)), self.response.len()),
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
            let (began, before) = (Instant::now(), state[0].event_state());
            let left = deadline.saturating_duration_since(began);
            let waited = handle.context.get_status_change(left, &mut state);
            match waited {
                Ok(()) if !state[0].event_state().contains(pcsc::State::PRESENT) => return true,
                Ok(()) if left.is_zero() => return false,
                Ok(()) => state[0].sync_current_state(),
                Err(Error::UnknownReader | Error::ReaderUnavailable) => return true,
                Err(_) => return false,
            }
            thread::sleep(pause(waited, began.elapsed(), left, state[0].event_state() != before));
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
        card_info(|| status(&handle.card))
    }

    /// Fails if the taken card has left: reconnecting would take a later card without any error.
    fn check_not_swapped(&self) -> Result<(), SlotError> {
        let _read = self.monitor.status_read();
        match self.handle.as_ref().map(|handle| status(&handle.card)) {
            Some(Err(Error::RemovedCard)) => Err(SlotError::CardRemoved),
            // The reset reports every other error.
            _ => Ok(()),
        }
    }

    /// Whether PC/SC reports a card in the reader. True also if it reports nothing: a new handle shows why.
    fn sees_card(&self) -> bool {
        let Some(handle) = &self.handle else { return true };
        let _read = self.monitor.status_read();
        let mut state = [ReaderState::new(self.reader.clone(), pcsc::State::UNAWARE)];
        let looked = handle.context.get_status_change(Duration::ZERO, &mut state);
        looked.is_err() || state[0].event_state().contains(pcsc::State::PRESENT)
    }

    /// Replaces the handle with a new, exclusive one.
    fn connect(&mut self, protocols: ProtocolChoice) -> Result<(), SlotError> {
        let context = Context::establish(Scope::System).map_err(slot_error)?;
        let card =
            context.connect(&self.reader, ShareMode::Exclusive, pcsc_protocols(protocols)).map_err(slot_error)?;
        self.handle = Some(Handle { card, context });
        Ok(())
    }

    /// Powers a mute card off and on. PC/SC grants no exclusive handle on a mute card, so this uses a direct one, and
    /// then a shared one. Call it only without a handle, which would exclude the direct one on Windows.
    ///
    /// # Errors
    /// [`SlotError::Held`] if another program is connected and the system then grants no direct handle: the card has
    /// kept its power.
    fn cut_power(&self) -> Result<(), SlotError> {
        let direct = Context::establish(Scope::System)
            .and_then(|context| context.connect(&self.reader, ShareMode::Direct, Protocols::UNDEFINED));
        match direct {
            Ok(mut card) => {
                // The caller takes the card next, which shows the result.
                let _ = card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::UnpowerCard);
                let _ = card.disconnect(Disposition::LeaveCard);
                Ok(())
            }
            Err(Error::SharingViolation) => Err(SlotError::Held),
            // The same.
            Err(_) => Ok(()),
        }
    }
}

/// The meaning of a reconnection for the handle; `None` if it was not refused.
fn refusal(taken: &Result<CardInfo, SlotError>, protocols: ProtocolChoice) -> Option<Refusal> {
    taken.as_ref().err().map(|error| Refusal::of(error, protocols))
}

/// Reads the protocol and the ATR of a handle's card by one call. The call that allocates makes two; and under Wine a
/// name without its end makes the second one fail at times.
fn status(card: &Card) -> Result<(Option<pcsc::Protocol>, Vec<u8>), Error> {
    let (mut names, mut atr) = ([0; MAX_NAMES_BYTES], [0; pcsc::MAX_ATR_SIZE]);
    let status = card.status2(&mut names, &mut atr)?;
    Ok((status.protocol2(), status.atr().to_vec()))
}

/// Reads ATR and protocol of a card that was just reset from its `status`.
///
/// pcsc-lite's library keeps one copy of all readers' states for the whole process. The monitor's thread may overwrite
/// it with an older state, of the moment in which the reset had cleared the protocol. Then this reads it again.
fn card_info(
    mut status: impl FnMut() -> Result<(Option<pcsc::Protocol>, Vec<u8>), Error>,
) -> Result<CardInfo, SlotError> {
    for _ in 0..STATUS_TRIES {
        let (protocol, atr) = status().map_err(slot_error)?;
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
        let mut answers = [mixed_up(), mixed_up(), t0()].into_iter();
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
