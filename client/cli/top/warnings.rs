//! Warnings about the broker and its readers, the most urgent first.

use std::time::SystemTime;

use super::{
    model::{Broker, Pcsc, Reader, Snapshot, Usability, age, lasting},
    text::elapsed_long,
};
use crate::{
    status::{LONG_CALL, LONG_TURN},
    words::count,
};

/// A sentence about the broker or a reader. The order of the kinds is that of the screen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Warning {
    kind: Kind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pcsc,
    LongCall,
    Faulty,
    LongTurn,
    Reload,
    LostLogLines,
    Traced,
}

/// All warnings at `now`, about the broker and its readers.
pub(super) fn all(snapshot: &Snapshot, now: SystemTime) -> Vec<Warning> {
    let mut warnings = snapshot.broker.as_ref().map(|broker| of_broker(broker, now)).unwrap_or_default();
    for reader in &snapshot.readers {
        let of_reader = of_reader(reader, now).into_iter();
        warnings
            .extend(of_reader.map(|Warning { kind, text }| Warning { kind, text: format!("{}: {text}", reader.id) }));
    }
    // Stable: readers stay in the order of their names.
    warnings.sort_by_key(|warning| warning.kind);
    warnings
}

/// The warnings of one reader, without its name.
pub(super) fn of_reader(reader: &Reader, now: SystemTime) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |kind, text| warnings.push(Warning { kind, text });
    let call = reader.driver_call.and_then(|call| Some((call, age(call.begin_time, now)?)));
    match call.filter(|(call, time)| *time > LONG_CALL || call.is_overdue) {
        // It explains the state.
        Some((call, time)) => {
            let given_up = if call.is_overdue { ", given up by the broker" } else { "" };
            warn(Kind::LongCall, format!("a driver call has run for {}{given_up}", elapsed_long(time)));
        }
        None if reader.usability == Usability::Faulty => {
            warn(Kind::Faulty, format!("{}{}", reader.state, lasting(reader.state_time, now)));
        }
        None => {}
    }
    if let Some((holder, held)) = reader.holder.as_ref().zip(reader.held(now))
        && held > LONG_TURN
        && reader.waiter_count > 0
    {
        let holder = holder.caller.short();
        warn(
            Kind::LongTurn,
            format!("{holder} has held it for {}; {} waiting", elapsed_long(held), reader.waiter_count),
        );
    }
    for tracer in &reader.tracers {
        let data = if tracer.shows_data { ", with data" } else { "" };
        warn(Kind::Traced, format!("traced by {}{data}", tracer.caller.short()));
    }
    warnings
}

fn of_broker(broker: &Broker, now: SystemTime) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |kind, text| warnings.push(Warning { kind, text });
    if broker.pcsc == Pcsc::Unavailable {
        let time = lasting(broker.pcsc_time, now);
        let problem = if broker.pcsc_problem.is_empty() { String::new() } else { format!(": {}", broker.pcsc_problem) };
        warn(Kind::Pcsc, format!("PC/SC unavailable{time}{problem}"));
    }
    if !broker.reload_problem.is_empty() {
        warn(Kind::Reload, format!("the configuration was not reloaded: {}", broker.reload_problem));
    }
    if broker.lost_log_lines > 0 {
        warn(Kind::LostLogLines, format!("{} lost", count(broker.lost_log_lines, "log line")));
    }
    warnings
}
