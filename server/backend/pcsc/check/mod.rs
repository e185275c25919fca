//! The check of a machine's PC/SC: tries, one step after another, what differs between systems, and tells what it has
//! seen. It sends no command to a card; it connects, resets, and asks a person to take the card out and to insert it.

mod lines;
mod person;

use std::{
    ffi::{CStr, CString},
    time::{Duration, Instant},
};

use pcsc::{Card, Context, Disposition, Error, PNP_NOTIFICATION, Protocols, ReaderState, ShareMode, State};

pub use self::lines::{Line, Outcome};
use self::{
    lines::{Wait, code, ms, waits},
    person::Person,
};
use super::monitor::{Calls, establish, picture};

/// How long a wait lasts that nothing should end, and how many there are.
const QUIET_WAIT: Duration = Duration::from_millis(300);
const QUIET_WAITS: usize = 3;
/// How many changes may come meanwhile.
const MAX_CHANGES: usize = 3;

/// The subject of the check, and the longest wait for a person.
#[derive(Debug, Clone)]
pub struct Options {
    /// PC/SC's name of the reader; `None` for the first one with a card, or else the first.
    pub reader: Option<String>,
    /// How long a person may take for one step; `None` skips the steps that need a person.
    pub patience: Option<Duration>,
}

/// A message of the check while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A request to the person at the machine.
    Prompt(String),
    /// A step has ended, with this line.
    Line(Line),
}

/// Runs all steps. Calls of PC/SC may hang in a driver: run it on a thread that may be left alone. Returns whether
/// PC/SC could be checked.
pub fn check(options: &Options, tell: &mut dyn FnMut(Output)) -> bool {
    let began = Instant::now();
    let context = match establish() {
        Ok(context) => {
            tell(Output::Line(Line::seen("service", true, format!("answers after {}", ms(began.elapsed())))));
            context
        }
        Err(error) => {
            tell(Output::Line(Line::new("service", Outcome::Failed, format!("no context: {}", code(error)))));
            return false;
        }
    };
    let mut person = Person::new(options.patience, tell);
    let Some(reader) = choose(&context, options, &mut person) else { return false };
    quiet(&context, &reader, &mut person);
    if hold(&context, &reader, &mut person) {
        direct(&context, &reader, &mut person);
        person.removal(&context, &reader);
        person.insertion(&context, &reader);
    }
    person.service_stop(&context, &reader);
    true
}

/// The reader to use, with a card in it if a person inserts one.
fn choose(context: &Context, options: &Options, person: &mut Person<'_>) -> Option<CString> {
    let readers = match context.readers() {
        Ok(readers) => readers,
        Err(error) => {
            person.line(Line::new("readers", Outcome::Failed, format!("no list of readers: {}", code(error))));
            return None;
        }
    };
    let names: Vec<_> = readers.iter().map(|reader| reader.to_string_lossy().into_owned()).collect();
    let named = options.reader.as_deref().map(|wished| names.iter().position(|name| name == wished));
    let with_card = || readers.iter().position(|reader| has_card(context, reader));
    let chosen = named.unwrap_or_else(|| with_card().or(Some(0))).and_then(|index| readers.get(index).cloned());
    let text = format!("{}: {}", names.len(), names.join("; "));
    let Some(reader) = chosen else {
        person.line(Line::new("readers", Outcome::Failed, format!("{text}; none to check")));
        return None;
    };
    person.line(Line::seen("readers", true, format!("{text}; checked: {}", reader.to_string_lossy())));
    Some(reader)
}

/// The reader's state at the moment; empty if PC/SC does not tell it.
fn state_now(context: &Context, reader: &CStr) -> State {
    let mut states = [ReaderState::new(reader, State::UNAWARE)];
    let looked = context.get_status_change(Duration::ZERO, &mut states);
    if looked.is_ok() { states[0].event_state() } else { State::empty() }
}

/// Whether PC/SC reports a card in the reader.
fn has_card(context: &Context, reader: &CStr) -> bool {
    state_now(context, reader).contains(State::PRESENT)
}

/// Whether waits for a change do wait, and new readers are announced.
fn quiet(context: &Context, reader: &CStr, person: &mut Person<'_>) {
    let mut states = [ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE), ReaderState::new(reader, State::UNAWARE)];
    let mut last = context.get_status_change(Duration::ZERO, &mut states);
    let is_known = !states[0].event_state().contains(State::UNKNOWN);
    let mut seen = Vec::new();
    let mut changes = 0;
    while seen.len() < QUIET_WAITS {
        if let Err(error) = last
            && error != Error::Timeout
        {
            seen.push(Wait { took: Duration::ZERO, ended: last, is_same: true });
            break;
        }
        states.iter_mut().for_each(ReaderState::sync_current_state);
        let before = picture(&states);
        let began = Instant::now();
        let ended = context.get_status_change(QUIET_WAIT, &mut states);
        let is_same = picture(&states) == before;
        // A card may have come just before.
        if is_same || ended.is_err() || changes == MAX_CHANGES {
            seen.push(Wait { took: began.elapsed(), ended, is_same });
        } else {
            changes += 1;
        }
        last = ended;
    }
    person.line(waits(&seen));
    let text = if is_known { "new readers are announced" } else { "new readers are not announced" };
    person.line(Line::seen("announcer", is_known, text));
}

/// Whether the card can be held and reset. Returns whether the steps with a card make sense.
fn hold(context: &Context, reader: &CStr, person: &mut Person<'_>) -> bool {
    if !has_card(context, reader) && !person.card_comes(context, reader, "Insert a card into", "hold") {
        return false;
    }
    let began = Instant::now();
    let mut card = match exclusive(context, reader) {
        Ok(card) => card,
        Err(error) => {
            let advice = match error {
                Error::SharingViolation => ": another program uses the card; end it, and the broker",
                _ => "",
            };
            person.line(Line::new("hold", Outcome::Failed, format!("no exclusive handle: {}{advice}", code(error))));
            return false;
        }
    };
    person.line(Line::seen("hold", true, format!("an exclusive handle after {}", ms(began.elapsed()))));
    let began = Instant::now();
    let reset = card.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard);
    let took = ms(began.elapsed());
    let text = reset.map_or_else(|error| format!("refused: {}", code(error)), |()| format!("takes {took}"));
    person.line(Line::seen("reset", reset.is_ok(), text));
    let gone = card.disconnect(Disposition::ResetCard);
    if let Err((_, error)) = gone {
        person.line(Line::seen("disconnect", false, format!("refused: {}", code(error))));
    }
    true
}

fn exclusive(context: &Context, reader: &CStr) -> Result<Card, Error> {
    context.connect(reader, ShareMode::Exclusive, Protocols::ANY)
}

/// Whether a direct handle and a shared one exclude each other.
fn direct(context: &Context, reader: &CStr, person: &mut Person<'_>) {
    let (direct, shared) = ((ShareMode::Direct, Protocols::UNDEFINED), (ShareMode::Shared, Protocols::ANY));
    let beside = |(first, protocols): (ShareMode, Protocols), (second, others): (ShareMode, Protocols)| {
        let held = context.connect(reader, first, protocols)?;
        let tried = establish().and_then(|other| {
            let card = other.connect(reader, second, others)?;
            // A failure changes nothing about the answer.
            let _ = card.disconnect(Disposition::LeaveCard);
            Ok(())
        });
        let _ = held.disconnect(Disposition::LeaveCard);
        tried
    };
    person.line(lines::direct(beside(shared, direct), beside(direct, shared)));
}
