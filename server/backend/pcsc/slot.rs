//! Real readers through PC/SC: pcsc-lite on Linux and macOS, winscard on Windows. The only file that names the crate `pcsc`.
//!
//! What holds a card here is an exclusive handle, never a transaction (Windows resets a card whose transaction idles). On pcsc-lite the
//! handle is kept when the card leaves and taken over to the next card by `SCardReconnect`, so that no other program gets in at
//! insertion. Only an exclusive handle is kept: a DIRECT one on an empty reader keeps nobody out, and making it exclusive waits inside
//! pcsc-lite's library, without bound, while another program is there.

use std::{
    ffi::CString,
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    slot::{CardInfo, Protocol, ProtocolChoice, ResetKind, ServiceError, SlotError, SlotStatus},
};
use pcsc::{Card, Context, Disposition, Error, PNP_NOTIFICATION, Protocols, ReaderState, Scope, ShareMode};
use zeroize::Zeroize;

use super::{Backend, MAX_RESPONSE_BYTES, Monitor, Slot};

/// How often the status after a reset is asked for until it tells a protocol.
const STATUS_TRIES: usize = 5;

/// The system's PC/SC service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pcsc;

impl Backend for Pcsc {
    fn monitor(&self) -> Box<dyn Monitor> {
        Box::<PcscMonitor>::default()
    }

    fn slot(&self, display_name: &str) -> Box<dyn Slot> {
        Box::new(PcscSlot { reader: c_string(display_name), handle: None, response: vec![0; MAX_RESPONSE_BYTES] })
    }
}

/// Watches the service with a context of its own: calls on one context wait for each other.
#[derive(Default)]
struct PcscMonitor {
    context: Option<Context>,
    states: Vec<ReaderState>,
    last: Option<Vec<SlotStatus>>,
}

impl Monitor for PcscMonitor {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<SlotStatus>, ServiceError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.look(deadline) {
                Ok(picture) if self.last.as_ref() != Some(&picture) || Instant::now() >= deadline => {
                    self.last = Some(picture.clone());
                    return Ok(picture);
                }
                Ok(_) => {}
                Err(error) => {
                    *self = Self::default();
                    return Err(service_error(error));
                }
            }
        }
    }
}

impl PcscMonitor {
    /// Lists the readers, then waits for a change if nothing has changed since the last look.
    fn look(&mut self, deadline: Instant) -> Result<Vec<SlotStatus>, Error> {
        let context = match &self.context {
            Some(context) => context.clone(),
            None => self.context.insert(Context::establish(Scope::System)?).clone(),
        };
        let names = match context.list_readers_owned() {
            Ok(names) => names,
            Err(Error::NoReadersAvailable) => Vec::new(),
            Err(error) => return Err(error),
        };
        let known = |state: &ReaderState| {
            state.name() == PNP_NOTIFICATION() || names.iter().any(|name| **name == *state.name())
        };
        self.states.retain(known);
        let mut has_new = false;
        for name in std::iter::once(PNP_NOTIFICATION().to_owned()).chain(names) {
            if !self.states.iter().any(|state| state.name() == &*name) {
                self.states.push(ReaderState::new(name, pcsc::State::UNAWARE));
                has_new = true;
            }
        }
        let timeout = if has_new { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
        match context.get_status_change(timeout, &mut self.states) {
            Ok(()) => self.states.iter_mut().for_each(ReaderState::sync_current_state),
            // A reader that was unplugged between the two calls; the next look does not list it.
            Err(Error::Timeout | Error::UnknownReader | Error::ReaderUnavailable) => {}
            Err(error) => return Err(error),
        }
        let readers = self.states.iter().filter(|state| state.name() != PNP_NOTIFICATION());
        Ok(readers.filter(|state| !state.event_state().contains(pcsc::State::UNKNOWN)).map(slot_status).collect())
    }
}

fn slot_status(state: &ReaderState) -> SlotStatus {
    let card_present = state.event_state().contains(pcsc::State::PRESENT);
    SlotStatus {
        display_name: state.name().to_string_lossy().into_owned(),
        card_present,
        event_count: state.event_count(),
        atr: if card_present { state.atr().to_vec() } else { Vec::new() },
    }
}

struct PcscSlot {
    reader: CString,
    handle: Option<Handle>,
    response: Vec<u8>,
}

struct Handle {
    context: Context,
    card: Card,
}

impl Slot for PcscSlot {
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        match self.reconnect(Disposition::ResetCard, protocols) {
            // Not a word about the card: the handle has outlived the service that gave it.
            Err(SlotError::StaleHandle | SlotError::Service(_) | SlotError::ReaderGone) => {
                self.handle = None;
                self.connect(protocols)?;
                // A new handle does not mean a fresh card: someone else may have used it.
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

    fn exchange(&mut self, command: &[u8]) -> Result<ApduBytes, SlotError> {
        let Some(handle) = &self.handle else { return Err(SlotError::StaleHandle) };
        let (answer, used) = match handle.card.transmit(command, &mut self.response) {
            // A pull in mid-command is a success with no bytes on some drivers.
            Ok(response) if response.len() < 2 => {
                (Err(SlotError::Lost(format!("an answer of {} bytes", response.len()))), response.len())
            }
            Ok(response) => (Ok(ApduBytes::from(response)), response.len()),
            // Part of an answer may have come.
            Err(error) => (Err(slot_error(error)), self.response.len()),
        };
        self.response[..used].zeroize();
        answer
    }

    fn wait_removal(&mut self, timeout: Duration) -> bool {
        let Some(handle) = &self.handle else { return false };
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
            // If it fails the service is gone, and with it our hold.
            let _ = handle.card.disconnect(Disposition::ResetCard);
        }
    }
}

impl PcscSlot {
    /// Makes the handle exclusive, resets the card and reads what it has become. Both ATR and protocol may change at a reset.
    fn reconnect(&mut self, disposition: Disposition, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let handle = self.handle.as_mut().ok_or(SlotError::StaleHandle)?;
        handle.card.reconnect(ShareMode::Exclusive, pcsc_protocols(protocols), disposition).map_err(slot_error)?;
        card_info(|| handle.card.status2_owned().map(|status| (status.protocol2(), status.atr().to_vec())))
    }

    /// A reset is for the card that was taken. Reconnecting would hand over another one that has come since without a word.
    fn check_not_swapped(&self) -> Result<(), SlotError> {
        match self.handle.as_ref().map(|handle| handle.card.status2_owned()) {
            Some(Err(Error::RemovedCard)) => Err(SlotError::CardRemoved),
            // Whatever else is wrong shows in the reset.
            _ => Ok(()),
        }
    }

    /// A new, exclusive handle.
    fn connect(&mut self, protocols: ProtocolChoice) -> Result<(), SlotError> {
        let context = Context::establish(Scope::System).map_err(slot_error)?;
        let card =
            context.connect(&self.reader, ShareMode::Exclusive, pcsc_protocols(protocols)).map_err(slot_error)?;
        self.handle = Some(Handle { card, context });
        Ok(())
    }

    /// Powers a silent card off and on. It gives no exclusive handle as it is, so a shared one has to do; a rival with an exclusive one
    /// would have been met when the card was to be taken.
    fn cut_power(&self) {
        let direct = Context::establish(Scope::System)
            .and_then(|context| context.connect(&self.reader, ShareMode::Direct, Protocols::UNDEFINED));
        if let Ok(mut card) = direct {
            // Whether it has helped shows when the card is taken.
            let _ = card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::UnpowerCard);
            let _ = card.disconnect(Disposition::LeaveCard);
        }
    }
}

/// ATR and protocol of a card that was just reset, by its status, which is asked for with `status`.
///
/// pcsc-lite's library keeps one copy of all readers' states for the whole process. The monitor's thread may replace what this one has
/// just asked for with an older answer, of the moment in which the reset had taken the protocol away: then it is asked for again.
fn card_info(
    mut status: impl FnMut() -> Result<(Option<pcsc::Protocol>, Vec<u8>), Error>,
) -> Result<CardInfo, SlotError> {
    for _ in 0..STATUS_TRIES {
        let (protocol, atr) = match status() {
            // The ATR has grown between the question for its length and that for itself.
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
    Err(SlotError::Mute("PC/SC tells no protocol after the reset".into()))
}

fn pcsc_protocols(choice: ProtocolChoice) -> Protocols {
    match choice {
        ProtocolChoice::Any => Protocols::ANY,
        ProtocolChoice::T0 => Protocols::T0,
        ProtocolChoice::T1 => Protocols::T1,
    }
}

/// What PC/SC's code means for a slot. Whatever is not known to have failed before the card counts as lost.
fn slot_error(error: Error) -> SlotError {
    match error {
        Error::NoSmartcard => SlotError::NoCard,
        Error::RemovedCard => SlotError::CardRemoved,
        Error::ResetCard => SlotError::CardReset,
        Error::SharingViolation => SlotError::Held,
        Error::ProtoMismatch => SlotError::ProtocolMismatch,
        Error::InvalidHandle | Error::InvalidParameter => SlotError::StaleHandle,
        Error::UnresponsiveCard | Error::UnpoweredCard | Error::UnsupportedCard => SlotError::Mute(error.to_string()),
        Error::UnknownReader | Error::ReaderUnavailable => SlotError::ReaderGone,
        Error::NoService | Error::ServiceStopped | Error::SecurityViolation | Error::NoAccess => {
            SlotError::Service(service_error(error))
        }
        _ => SlotError::Lost(error.to_string()),
    }
}

fn service_error(error: Error) -> ServiceError {
    match error {
        Error::SecurityViolation | Error::NoAccess => ServiceError::Denied(error.to_string()),
        _ => ServiceError::Down(error.to_string()),
    }
}

/// PC/SC's names come from C strings and hold no NUL.
fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardbroker_core::error::Delivery;

    #[test]
    fn what_failed_before_the_card_is_told_from_what_may_have_run() {
        let not_sent = [
            Error::ResetCard,
            Error::RemovedCard,
            Error::NoSmartcard,
            Error::ProtoMismatch,
            Error::InvalidHandle,
            Error::InvalidParameter,
            Error::SharingViolation,
        ];
        let unknown = [
            Error::NotTransacted,
            Error::CommError,
            Error::InsufficientBuffer,
            Error::NoService,
            Error::ServiceStopped,
            Error::UnresponsiveCard,
            Error::ReaderUnavailable,
            Error::InternalError,
            Error::InvalidValue,
            Error::Timeout,
        ];
        for error in not_sent {
            assert_eq!(slot_error(error).delivery(), Delivery::NotSent, "{error}");
        }
        for error in unknown {
            assert_eq!(slot_error(error).delivery(), Delivery::Unknown, "{error}");
        }
    }

    #[test]
    fn a_status_without_a_protocol_is_asked_for_again_but_not_for_ever() {
        let t0 = || Ok((Some(pcsc::Protocol::T0), vec![0x3B]));
        let mixed_up = || Ok((None, vec![0x3B]));
        let mut answers = [mixed_up(), Err(Error::InsufficientBuffer), t0()].into_iter();
        let card = card_info(|| answers.next().unwrap()).unwrap();
        assert_eq!((card.protocol, card.atr), (Protocol::T0, vec![0x3B]));
        let mut asked = 0;
        let never = card_info(|| {
            asked += 1;
            mixed_up()
        });
        assert!(matches!(never, Err(SlotError::Mute(_))));
        assert_eq!(asked, STATUS_TRIES);
        assert_eq!(card_info(|| Err(Error::RemovedCard)), Err(SlotError::CardRemoved));
    }

    #[test]
    fn a_denial_by_policy_says_which_rule_to_add() {
        let denial = slot_error(Error::SecurityViolation).to_string();
        assert!(denial.contains("org.debian.pcsc-lite.access_card") && denial.contains("polkit"), "{denial}");
    }
}
