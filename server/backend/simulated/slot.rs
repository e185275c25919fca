//! The slot of a simulated reader: carries out its card's reactions.

use std::{
    sync::{Arc, MutexGuard},
    time::{Duration, Instant},
};

use cardbroker_core::{
    apdu::ApduBytes,
    simulated_card::{Absence, Reaction, ReplayEnd},
    slot::{CardCommand, CardInfo, Protocol, ProtocolChoice, ResetKind, SlotError, SlotName},
};
use tracing::warn;

use super::{Bay, BayCard, Rack};
use crate::backend::Slot;

pub(super) struct BaySlot {
    rack: Arc<Rack>,
    /// `None` if there is no such reader.
    index: Option<usize>,
    /// The event count of the taken card: any other count means that it has left.
    taken: Option<u32>,
}

/// The simulated readers' error of a failed exchange.
fn lost(what: &str) -> SlotError {
    SlotError::Lost(what.into())
}

impl BaySlot {
    pub(super) fn new(rack: Arc<Rack>, index: Option<usize>) -> Self {
        Self { rack, index, taken: None }
    }

    fn index(&self) -> Result<usize, SlotError> {
        self.index.ok_or(SlotError::ReaderGone)
    }

    /// Returns the taken card, if it is still present.
    fn card<'a>(&self, bays: &'a mut MutexGuard<'_, Vec<Bay>>) -> Result<&'a mut BayCard, SlotError> {
        let taken = self.taken.ok_or(SlotError::StaleHandle)?;
        let bay = bays.get_mut(self.index()?).ok_or(SlotError::ReaderGone)?;
        bay.advance(Instant::now());
        if bay.event_count() != taken {
            return Err(SlotError::CardRemoved);
        }
        bay.card_mut().ok_or(SlotError::CardRemoved)
    }

    /// Waits for `time`; returns `false` if the taken card has left meanwhile.
    fn pass<'a>(&'a self, bays: MutexGuard<'a, Vec<Bay>>, time: Duration) -> (MutexGuard<'a, Vec<Bay>>, bool) {
        if time.is_zero() {
            return (bays, true);
        }
        let (bays, left) = self.rack.wait(bays, time, |bays| self.event_count(bays) != self.taken);
        (bays, !left)
    }

    /// Lets the card leave without a response. Returns when it has left.
    fn leave(&self, mut bays: MutexGuard<'_, Vec<Bay>>, absence: Absence) -> Result<ApduBytes, SlotError> {
        if let Some(bay) = bays.get_mut(self.index()?) {
            bay.leave(absence, Instant::now());
        }
        self.rack.changed.notify_all();
        // One millisecond more, so that the card has left when this call returns.
        let _gone = self.pass(bays, absence.after + Duration::from_millis(1));
        Err(lost("the card left during the command"))
    }

    /// Logs why a replay has ended: headers, never data of a command.
    fn tell(&self, ReplayEnd { cause, line, expected, received }: ReplayEnd) {
        let reader = self.index.and_then(|index| self.rack.names.get(index)).map(SlotName::shown);
        let header = |header: Option<[u8; 4]>| header.map_or("none".to_owned(), hex::encode_upper);
        let (expected, received) = (header(expected), header(received));
        warn!(reader, line, expected, received, "the replay of a reader has ended, its card is removed: {cause}");
    }

    fn event_count(&self, bays: &[Bay]) -> Option<u32> {
        self.index.and_then(|index| bays.get(index)).map(Bay::event_count)
    }
}

impl Slot for BaySlot {
    fn take(&mut self, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let index = self.index()?;
        let now = Instant::now();
        self.taken = {
            let mut bays = self.rack.lock();
            let bay = bays.get_mut(index).ok_or(SlotError::ReaderGone)?;
            bay.advance(now);
            bay.card().map(|_| bay.event_count())
        };
        if self.taken.is_none() {
            return Err(SlotError::NoCard);
        }
        self.reset(ResetKind::Warm, protocols)
    }

    fn reset(&mut self, _kind: ResetKind, protocols: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let mut bays = self.rack.lock();
        let card = self.card(&mut bays)?;
        let (protocol, reset_time) = (card.protocol(), card.reset_time());
        match (protocols, protocol) {
            (ProtocolChoice::T0, Protocol::T1 | Protocol::Raw) | (ProtocolChoice::T1, Protocol::T0) => {
                return Err(SlotError::ProtocolMismatch);
            }
            _ => {}
        }
        let atr = card.reset();
        let (_bays, still_there) = self.pass(bays, reset_time);
        match atr {
            _ if !still_there => Err(SlotError::CardRemoved),
            Some(atr) => Ok(CardInfo { atr, protocol }),
            None => Err(SlotError::Mute("no answer to reset".into())),
        }
    }

    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError> {
        let mut bays = self.rack.lock();
        match self.card(&mut bays)?.transmit(command.bytes()) {
            Reaction::Answer { answer, work, then } => {
                let (mut bays, still_there) = self.pass(bays, work);
                if !still_there {
                    return Err(lost("the card left during the command"));
                }
                if let (Some(absence), Some(bay)) = (then, bays.get_mut(self.index()?)) {
                    bay.leave(absence, Instant::now());
                    self.rack.changed.notify_all();
                }
                if answer.len() < 2 { Err(lost("a response without status word")) } else { Ok(answer) }
            }
            Reaction::Leave(absence) => self.leave(bays, absence),
            Reaction::ReplayEnded(end) => {
                self.tell(end);
                self.leave(bays, Absence { after: Duration::ZERO, back: None })
            }
            Reaction::Fail { after } => {
                let _over = self.pass(bays, after);
                Err(lost("simulated transport error"))
            }
        }
    }

    fn wait_removal(&mut self, timeout: Duration) -> bool {
        let gone = |bays: &[Bay]| match self.taken {
            Some(_) => self.event_count(bays) != self.taken,
            None => self.index.and_then(|index| bays.get(index)).is_none_or(|bay| bay.card().is_none()),
        };
        self.rack.wait(self.rack.lock(), timeout, gone).1
    }

    fn release(&mut self) {
        if let Ok(card) = self.card(&mut self.rack.lock()) {
            card.power_off();
        }
        self.taken = None;
    }
}
