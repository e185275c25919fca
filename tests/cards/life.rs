//! The life of a virtual card: connects, answers the driver, simulates faults, leaves, returns.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use cardbroker_core::simulated_card::{Absence, Reaction};
use cardbroker_server::backend::simulated::BayCard;

use super::{
    Place, Seen,
    link::{Link, Request},
};

/// The pause between attempts to reach a driver that does not listen (yet).
pub(super) const RETRY_TIME: Duration = Duration::from_millis(20);

const DAY: Duration = Duration::from_secs(86_400);

/// One byte longer than an answer to reset may be: the driver reports that as a card that does not answer a reset. (No
/// bytes at all would mean a removal.)
const MUTE: [u8; 34] = [0; 34];

/// Runs until the slot is closed.
pub(super) fn live(place: &Place, port: u16) {
    while let Some(insertion) = next_insertion(place) {
        let connected = Link::connect(port).and_then(|link| Ok((link.try_clone()?, link)));
        let Ok((handle, mut link)) = connected else {
            place.wait(RETRY_TIME, |state| state.closed);
            continue;
        };
        let stays = place.change(|state| {
            let stays = state.bay.event_count() == insertion;
            state.link = stays.then_some(handle);
            stays
        });
        if stays {
            // In every case the driver or the card is gone.
            let _ = Life { place, link: &mut link, insertion }.serve();
        }
        link.close();
        place.change(|state| {
            state.link = None;
            if let Some(card) = state.bay.card_mut() {
                card.power_off();
            }
        });
    }
}

/// Waits for a card; returns the number of its insertion, `None` when the slot is closed.
fn next_insertion(place: &Place) -> Option<u32> {
    let mut insertion = None;
    loop {
        let over = place.wait(DAY, |state| {
            insertion = state.bay.card().map(|_| state.bay.event_count());
            state.closed || insertion.is_some()
        });
        if over {
            return insertion.filter(|_| !place.lock().closed);
        }
    }
}

/// One insertion, on one connection.
struct Life<'a> {
    place: &'a Place,
    link: &'a mut Link,
    insertion: u32,
}

impl Life<'_> {
    /// Serves the driver; always ends with an error: the driver or the card is gone.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let leaving = {
                let mut state = self.place.lock();
                state.bay.advance(Instant::now());
                if state.bay.event_count() != self.insertion {
                    return Err(gone());
                }
                state.bay.next_event()
            };
            let timeout = leaving.map(|due| due.saturating_duration_since(Instant::now()));
            if let Some(request) = self.link.receive(timeout)? {
                self.answer(request)?;
            }
        }
    }

    fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::PowerOff => self.with_card(|card, seen| {
                card.power_off();
                seen.power_offs += 1;
            }),
            Request::Reset => {
                let reset_time = self.with_card(|card, seen| {
                    card.reset();
                    seen.resets += 1;
                    card.reset_time()
                })?;
                self.pass(reset_time)
            }
            Request::Atr => {
                let atr = self.with_card(|card, _| if card.powered() { card.atr() } else { MUTE.to_vec() })?;
                self.link.send(&atr)
            }
            Request::Command(command) => self.act(&command),
            Request::Other => Ok(()),
        }
    }

    fn act(&mut self, command: &[u8]) -> io::Result<()> {
        let reaction = self.with_card(|card, seen| {
            seen.command(command);
            card.transmit(command)
        })?;
        self.hang()?;
        match reaction {
            Reaction::Answer { answer, work, then } => {
                self.pass(work)?;
                self.link.send(&answer)?;
                then.map_or(Ok(()), |absence| self.leave(absence))
            }
            Reaction::Leave(absence) => {
                self.leave(absence)?;
                self.pass(DAY)
            }
            Reaction::Fail { after } => {
                self.pass(after)?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            // Only cards of a trace end like this.
            Reaction::ReplayEnded(_) => Err(gone()),
        }
    }

    fn leave(&self, absence: Absence) -> io::Result<()> {
        self.place.change(|state| state.bay.leave(absence, Instant::now()));
        Ok(())
    }

    /// Calls `work` with the card if it is still the one of this insertion.
    fn with_card<T>(&self, work: impl FnOnce(&mut BayCard, &mut Seen) -> T) -> io::Result<T> {
        self.place.change(|state| {
            let same = state.bay.event_count() == self.insertion;
            let card = state.bay.card_mut().filter(|_| same).ok_or_else(gone)?;
            Ok(work(card, &mut state.seen))
        })
    }

    /// Waits if the test has requested a hang.
    fn hang(&self) -> io::Result<()> {
        let Some(time) = self.place.change(|state| {
            let time = state.hang.take();
            state.seen.hanging = time.is_some();
            time
        }) else {
            return Ok(());
        };
        self.place.wait(time, |state| !state.seen.hanging || state.bay.event_count() != self.insertion);
        self.place.change(|state| state.seen.hanging = false);
        self.pass(Duration::ZERO)
    }

    /// Sleeps for `time`, but ends early with the slot.
    fn pass(&self, time: Duration) -> io::Result<()> {
        if self.place.wait(time, |state| state.bay.event_count() != self.insertion) { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> io::Error {
    ErrorKind::NotConnected.into()
}
