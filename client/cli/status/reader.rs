//! The block of one reader: its card, its holder and its waiters.

use std::time::Duration;

use cardbroker_client::{
    ReaderState,
    diagnostics::{self, Caller, DriverCall, Holder, Incident, ReaderCounters, ReaderStatus, Tracer, Waiter},
    hex,
};

use crate::{
    clock::{Clock, rough},
    json,
    layout::{Colour, LABEL, Paint, fill, headline, row},
    words::{self, count, incident_kind, plain, quoted, spoken},
};

/// How many incidents are shown of each of several readers.
const FEW_INCIDENTS: usize = 3;

/// How many waiters are shown, at most.
const MAX_WAITERS: usize = 16;

/// A turn is too long if it lasts longer while others wait.
pub(crate) const LONG_TURN: Duration = Duration::from_secs(30);

/// A call of the driver is too long if it lasts longer.
pub(crate) const LONG_CALL: Duration = Duration::from_secs(10);

pub(super) fn text(status: &ReaderStatus, is_detailed: bool, clock: &Clock, paint: Paint) -> String {
    let reader = status.reader.clone().unwrap_or_default();
    let (dot, colour) = dot(status, clock);
    let mut text = headline(dot, colour, paint, &plain(&reader.name));
    text += &row("Name", &quoted(&reader.display_name));
    let since = diagnostics::time(status.state_time)
        .map(|time| format!(" since {}, {}", clock.local(time), rough(clock.since(time))));
    text += &row("State", &format!("{}{}", json::state(&reader), since.unwrap_or_default()));
    if !reader.atr.is_empty() {
        let protocol =
            json::protocol(reader.active_protocol).map(|protocol| format!("{protocol}, ")).unwrap_or_default();
        let card = format!("{protocol}insertion {}, ATR {}", reader.insertion_count, hex::format(&reader.atr));
        text += &row("Card", &card);
    }
    text += &match &status.holder {
        Some(holder) => row("Holder", &words::caller(holder.caller.as_ref())) + &holder_rows(holder, clock),
        None => row("Holder", "none"),
    };
    if let Some(call) = &status.driver_call {
        text += &row("Driver", &driver_call(call, clock));
    }
    text += &waiters(status, clock);
    for (index, tracer) in status.tracers.iter().enumerate() {
        text += &row(if index == 0 { "Traced" } else { "" }, &traced(tracer, clock));
    }
    if let Some(counters) = &status.counters {
        text += &row("Counted", &counted(counters));
    }
    let shown = if is_detailed { status.incidents.len() } else { FEW_INCIDENTS };
    for (index, incident) in status.incidents.iter().take(shown).enumerate() {
        text += &row(if index == 0 { "Incidents" } else { "" }, &incident_text(incident, clock));
    }
    text
}

/// The dot, and its colour: green serves, yellow deserves a look, red does not serve.
fn dot(status: &ReaderStatus, clock: &Clock) -> (&'static str, Option<Colour>) {
    let held = status.holder.as_ref().and_then(|holder| diagnostics::time(holder.begin_time));
    let hogged = status.waiter_count > 0 && held.is_some_and(|time| clock.since(time) > LONG_TURN);
    let call = status.driver_call.as_ref().and_then(|call| diagnostics::time(call.begin_time));
    let slow = call.is_some_and(|time| clock.since(time) > LONG_CALL);
    match status.reader.as_ref().map(|reader| reader.state()) {
        Some(ReaderState::Ready) if hogged || slow => ("●", Some(Colour::Yellow)),
        Some(ReaderState::Ready) => ("●", Some(Colour::Green)),
        Some(ReaderState::Settling) => ("●", Some(Colour::Yellow)),
        Some(ReaderState::Empty) => ("○", None),
        _ => ("●", Some(Colour::Red)),
    }
}

/// The turn of a holder, and whether it was released.
fn holder_rows(holder: &Holder, clock: &Clock) -> String {
    let mut rows = row("", &turn(holder, clock));
    if holder.is_released {
        let by = holder.released_by.as_ref().map(|caller| format!(" by {}", words::caller(Some(caller))));
        let by = by.unwrap_or_default();
        rows += &row("", &format!("released{by}: ends when the driver's call returns"));
    }
    rows
}

/// The turn of a holder: `session for 2 min, idle for 10 s, 14 commands, last: verify, refused`.
pub(crate) fn turn(holder: &Holder, clock: &Clock) -> String {
    let kind = words::turn_kind(holder.is_session);
    let mut parts = vec![match diagnostics::time(holder.begin_time) {
        Some(time) => format!("{kind} for {}", rough(clock.since(time))),
        None => kind.to_owned(),
    }];
    if let Some(time) = diagnostics::time(holder.idle_time) {
        parts.push(format!("idle for {}", rough(clock.since(time))));
    }
    parts.push(match holder.is_session {
        true => count(holder.done_command_count.into(), "command"),
        false => format!("{} of {} done", holder.done_command_count, count(holder.command_count.into(), "command")),
    });
    if let Some(last) = &holder.last_command {
        parts.push(format!("last: {}", words::last_command(last)));
    }
    parts.join(", ")
}

pub(crate) fn driver_call(call: &DriverCall, clock: &Clock) -> String {
    let age = diagnostics::time(call.begin_time).map(|time| format!(" for {}", rough(clock.since(time))));
    let given_up = if call.is_overdue { "; given up until it returns" } else { "" };
    format!("in a call{}{given_up}", age.unwrap_or_default())
}

fn waiters(status: &ReaderStatus, clock: &Clock) -> String {
    let shown = status.waiters.len().min(MAX_WAITERS);
    let mut text = match status.waiter_count {
        0 if shown == 0 => return row("Waiting", "nobody"),
        number => row("Waiting", &count(number.into(), "request")),
    };
    for (index, waiter) in status.waiters[..shown].iter().enumerate() {
        text += &fill(&format!("{:1$}{2}. ", "", LABEL, index + 1), LABEL + 3, &waits(waiter, clock));
    }
    let rest = usize::try_from(status.waiter_count).unwrap_or_default().saturating_sub(shown);
    if rest > 0 {
        text += &row("", &format!("… and {rest} more"));
    }
    text
}

fn waits(waiter: &Waiter, clock: &Clock) -> String {
    let kind = words::turn_kind(waiter.is_session);
    let waited = diagnostics::time(waiter.arrive_time).map(|time| format!(", waits for {}", rough(clock.since(time))));
    let left = diagnostics::time(waiter.deadline_time).map(|time| format!(", {} left", rough(clock.until(time))));
    let who = words::caller(waiter.caller.as_ref());
    format!("{who}: {kind}{}{}", waited.unwrap_or_default(), left.unwrap_or_default())
}

fn traced(tracer: &Tracer, clock: &Clock) -> String {
    let data = if tracer.shows_data { ", with data" } else { "" };
    let age = diagnostics::time(tracer.begin_time).map(|time| format!(", for {}", rough(clock.since(time))));
    format!("by {}{data}{}", words::caller(tracer.caller.as_ref()), age.unwrap_or_default())
}

fn counted(counters: &ReaderCounters) -> String {
    let unanswered = match counters.failed_command_count {
        0 => String::new(),
        failed => format!(" ({failed} unanswered)"),
    };
    [
        count(counters.unit_count, "unit"),
        count(counters.session_count, "session"),
        count(counters.command_count, "command") + &unanswered,
        count(counters.reset_count, "reset"),
        count(counters.insertion_count, "insertion"),
        format!("{} denied", counters.denied_count),
        format!("{} not served", counters.not_served_count),
        format!("{} released", counters.release_count),
        format!("card used for {}", rough(diagnostics::duration(counters.card_time))),
        format!("waited for {}", rough(diagnostics::duration(counters.wait_time))),
    ]
    .join(", ")
}

fn incident_text(incident: &Incident, clock: &Clock) -> String {
    let time = diagnostics::time(incident.time).map_or("unknown".to_owned(), |time| clock.local(time));
    let kind = spoken(&incident_kind(incident.kind));
    let reason = words::reason(incident.reason).filter(|reason| spoken(reason) != kind);
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let times = if incident.count > 1 { format!(" ({} times)", incident.count) } else { String::new() };
    let by = |caller: &Caller| format!("; {}", words::caller(Some(caller)));
    let who = incident.caller.as_ref().map(by).unwrap_or_default();
    let what = match plain(&incident.message) {
        message if message.is_empty() => format!("{kind}{reason}"),
        message if message.starts_with(&kind) => message,
        message => format!("{kind}{reason}: {message}"),
    };
    format!("{time} {what}{times}{who}")
}
