//! The steps of the check that need a person: a card that is taken out and inserted, and a service that stops.

use std::{
    ffi::CStr,
    thread::sleep,
    time::{Duration, Instant},
};

use cardbroker_local::words;
use pcsc::{Card, Context, Disposition, Error, PNP_NOTIFICATION, Protocols, ReaderState, ShareMode, State};

use super::{
    super::monitor::{Calls, establish},
    Output, exclusive, has_card,
    lines::{Attempt, Line, Rival, Service, rivals, service, taken},
    state_now,
};

/// How long a handle may be refused after an insertion.
const TAKING_TIME: Duration = Duration::from_secs(2);
/// How long a fresh handle may be refused: as long as Windows' plug and play takes.
const RIVAL_TIME: Duration = Duration::from_secs(5);
/// The time between two calls that are repeated.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest single wait for a change.
const LOOK: Duration = Duration::from_millis(500);

const NOBODY: &str = "nobody did it in time";

/// A person beside the reader, and the output.
pub(super) struct Person<'a> {
    /// How long a person may take for one step; `None` if nobody is there.
    patience: Option<Duration>,
    tell: &'a mut dyn FnMut(Output),
}

impl<'a> Person<'a> {
    pub(super) fn new(patience: Option<Duration>, tell: &'a mut dyn FnMut(Output)) -> Self {
        Self { patience, tell }
    }

    pub(super) fn line(&mut self, line: Line) {
        (self.tell)(Output::Line(line));
    }

    /// Asks the person, and waits until `is_done`. Returns whether it was done in time.
    fn ask(&mut self, prompt: String, mut is_done: impl FnMut(Duration) -> bool) -> bool {
        let Some(patience) = self.patience else { return false };
        (self.tell)(Output::Prompt(prompt));
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if is_done(left.min(LOOK)) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Asks for a card in the reader; if none comes, the step is skipped.
    pub(super) fn card_comes(&mut self, context: &Context, reader: &CStr, what: &str, step: &'static str) -> bool {
        let prompt = format!("{what} {}.", reader.to_string_lossy());
        let came = self.ask(prompt, |limit| becomes(context, reader, true, limit));
        if !came {
            self.skip(&[step]);
        }
        came
    }

    /// Has the person take the card out and insert it, `how` as in "again". Returns whether both were done in time.
    fn move_card(&mut self, context: &Context, reader: &CStr, how: &str) -> bool {
        let name = reader.to_string_lossy();
        self.ask(format!("Take the card out of {name}."), |limit| becomes(context, reader, false, limit))
            && self.ask(format!("Insert the card into {name} {how}."), |limit| becomes(context, reader, true, limit))
    }

    fn skip(&mut self, steps: &[&'static str]) {
        let why = if self.patience.is_some() { NOBODY } else { "needs a person" };
        steps.iter().for_each(|step| self.line(Line::skipped(step, why)));
    }

    /// Whether a handle of before a removal takes the next card, and a fresh one.
    pub(super) fn removal(&mut self, context: &Context, reader: &CStr) {
        let steps = ["kept handle", "fresh handle"];
        let kept = if self.patience.is_some() { exclusive(context, reader).ok() } else { None };
        let Some(mut kept) = kept else { return self.skip(&steps) };
        if !self.move_card(context, reader, "again") {
            return self.skip(&steps);
        }
        let began = Instant::now();
        let attempts = try_until_done(began, TAKING_TIME, || {
            kept.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard)
        });
        self.line(taken(steps[0], "SCardReconnect", &attempts));
        // A handle of the card before may be void.
        let _ = kept.disconnect(Disposition::ResetCard);
        let mut fresh = None;
        let attempts = try_until_done(began, RIVAL_TIME, || {
            fresh = Some(exclusive(context, reader)?);
            Ok(())
        });
        self.line(taken(steps[1], "SCardConnect", &attempts));
        if let Some(card) = fresh {
            let _ = card.disconnect(Disposition::ResetCard);
        }
    }

    /// Whether another program uses a card that is inserted while nobody holds the reader.
    pub(super) fn insertion(&mut self, context: &Context, reader: &CStr) {
        let steps = ["plug and play"];
        if !self.move_card(context, reader, "once more") {
            return self.skip(&steps);
        }
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut ours: Option<Card> = None;
        while began.elapsed() < RIVAL_TIME {
            let at = began.elapsed();
            match ours.take() {
                None => {
                    seen.extend(used(context, reader).then_some((at, Rival::Uses)));
                    match context.connect(reader, ShareMode::Shared, Protocols::ANY) {
                        Ok(card) => ours = Some(card),
                        Err(Error::SharingViolation) => seen.push((at, Rival::Excludes)),
                        // The card has no power yet, or has left.
                        Err(_) => {}
                    }
                }
                Some(mut card) => {
                    let is_reset = was_reset(&mut card);
                    seen.extend(is_reset.then_some((at, Rival::Resets)));
                    // A reconnection acknowledges the reset.
                    let is_valid =
                        !is_reset || card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard).is_ok();
                    ours = is_valid.then_some(card);
                }
            }
            sleep(PAUSE);
        }
        if let Some(card) = ours {
            let _ = card.disconnect(Disposition::LeaveCard);
        }
        self.line(rivals(&seen, RIVAL_TIME));
    }

    /// How a context ends when the service stops, and when a new one works.
    pub(super) fn service_stop(&mut self, context: &Context, reader: &CStr) {
        let began = Instant::now();
        let mut found = Service::default();
        let prompt = format!("{} If you do not want that, wait.", words::HERE.stop_pcsc);
        let stopped = self.ask(prompt, |limit| {
            found.died = death(context, reader, limit).map(|error| (began.elapsed(), error));
            found.died.is_some()
        });
        if !stopped {
            return self.skip(&["service stop"]);
        }
        let began = Instant::now();
        found.afresh = Some(establish().map(drop));
        self.ask(words::HERE.start_pcsc.to_owned(), |limit| {
            let has_reader = establish().and_then(|context| context.readers()).is_ok_and(|readers| !readers.is_empty());
            found.back = has_reader.then(|| began.elapsed());
            if !has_reader {
                sleep(limit);
            }
            has_reader
        });
        self.line(service(found));
    }
}

/// Repeats a call until it succeeds or the time is over; at least once.
fn try_until_done(began: Instant, limit: Duration, mut call: impl FnMut() -> Result<(), Error>) -> Vec<Attempt> {
    let mut made = Vec::new();
    let deadline = Instant::now() + limit;
    loop {
        let ended = call();
        made.push((began.elapsed(), ended));
        if ended.is_ok() || Instant::now() >= deadline {
            return made;
        }
        sleep(PAUSE);
    }
}

/// Waits until the reader has a card, or none; `false` after the limit.
fn becomes(context: &Context, reader: &CStr, present: bool, limit: Duration) -> bool {
    if has_card(context, reader) == present {
        return true;
    }
    // It waits in short steps, also where a wait does not return at a change.
    sleep(limit.min(PAUSE));
    has_card(context, reader) == present
}

/// Whether the reader's state says that a program uses the card.
fn used(context: &Context, reader: &CStr) -> bool {
    state_now(context, reader).intersects(State::INUSE | State::EXCLUSIVE)
}

/// Whether another program has reset the card of this shared handle.
fn was_reset(card: &mut Card) -> bool {
    let status = card.status2_owned().err();
    if status == Some(Error::ResetCard) {
        return true;
    }
    match card.transaction2() {
        Ok(transaction) => {
            let _ = transaction.end(Disposition::LeaveCard);
            false
        }
        Err((_, error)) => error == Error::ResetCard,
    }
}

/// The error by which the context ends within the limit.
fn death(context: &Context, reader: &CStr, limit: Duration) -> Option<Error> {
    let mut states = [ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE), ReaderState::new(reader, State::UNAWARE)];
    let looked = context.get_status_change(Duration::ZERO, &mut states);
    states.iter_mut().for_each(ReaderState::sync_current_state);
    let began = Instant::now();
    let waited = looked.and_then(|()| context.get_status_change(limit, &mut states));
    let listed = context.readers().map(drop);
    // Where waits return at once, it looks rarely.
    sleep(PAUSE.saturating_sub(began.elapsed()));
    let is_death = |error: &Error| !matches!(error, Error::Timeout | Error::UnknownReader | Error::ReaderUnavailable);
    waited.err().filter(is_death).or(listed.err().filter(|error| *error != Error::NoReadersAvailable))
}
