//! The page of one reader: the holder, the driver, the waiters, the last incidents, the counters and the tracers.

use std::time::SystemTime;

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::palette::Palette;
use crate::top::{
    model::{Holder, Reader, age, lasting},
    text::{cut, elapsed, elapsed_long, left, measured, right, width, wrap},
    warnings,
};
use crate::words::{count, turn_kind};

/// The width of the names at the left edge.
const NAMES: usize = 10;

/// A page that is being written.
struct Page<'a> {
    lines: Vec<Line<'static>>,
    columns: usize,
    palette: &'a Palette,
}

/// The lines of the page of a reader, each at most `columns` wide.
pub(super) fn lines(reader: &Reader, now: SystemTime, columns: usize, palette: &Palette) -> Vec<Line<'static>> {
    let mut page = Page { lines: Vec::new(), columns, palette };
    page.title(reader, now);
    page.holder(reader, now);
    page.waiters(reader, now);
    page.incidents(reader, now);
    page.counters(reader);
    for (index, tracer) in reader.tracers.iter().enumerate() {
        let time = lasting(tracer.begin_time, now);
        let data = if tracer.shows_data { ", with data" } else { "" };
        let name = if index == 0 { "Traced by" } else { "" };
        page.row(name, &format!("{}{time}{data}", tracer.caller.full()), Style::new());
    }
    page.lines
}

impl Page<'_> {
    /// Adds one text, wrapped, with a name at the left edge.
    fn row(&mut self, name: &str, text: &str, style: Style) {
        let columns = self.columns.saturating_sub(NAMES + 1);
        for (index, line) in wrap(text, columns).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let name = Span::styled(left(name, NAMES + 1), self.palette.heading);
            self.lines.push(Line::from(vec![name, Span::styled(line, style)]));
        }
    }

    fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    fn title(&mut self, reader: &Reader, now: SystemTime) {
        let id = cut(&reader.id, self.columns);
        let display_name = cut(&reader.display_name, self.columns.saturating_sub(width(&id) + 2));
        self.lines.push(Line::from(vec![
            Span::styled(id, self.palette.title),
            Span::raw("  "),
            Span::styled(display_name, self.palette.muted),
        ]));
        for warning in warnings::of_reader(reader, now) {
            let style = self.palette.warning;
            self.row("!", &warning.text, style);
        }
        self.blank();
        let time = lasting(reader.state_time, now);
        self.row("State", &format!("{}{time}", reader.state), Style::new());
    }

    fn holder(&mut self, reader: &Reader, now: SystemTime) {
        match &reader.holder {
            None => self.row("Holder", "nobody", self.palette.muted),
            Some(holder) => {
                self.row("Holder", &holder.caller.full(), Style::new());
                self.row("Turn", &turn(holder, now), Style::new());
                self.row("Commands", &commands(holder), Style::new());
                if holder.is_released {
                    let by = holder.released_by.as_ref().map(|caller| format!(" by {}", caller.short()));
                    let text = format!("released{}; ends when the driver call returns", by.unwrap_or_default());
                    self.row("", &text, self.palette.warning);
                }
            }
        }
        match reader.driver_call.and_then(|call| age(call.begin_time, now)) {
            Some(time) => self.row("Driver", &format!("in a call for {}", elapsed_long(time)), Style::new()),
            None => self.row("Driver", "idle", self.palette.muted),
        }
    }

    fn waiters(&mut self, reader: &Reader, now: SystemTime) {
        self.blank();
        if reader.waiter_count == 0 {
            return self.row("Waiting", "nobody", self.palette.muted);
        }
        self.row("Waiting", &reader.waiter_count.to_string(), Style::new());
        for (index, waiter) in reader.waiters.iter().enumerate() {
            let waits = age(waiter.arrive_time, now).map(elapsed).unwrap_or_default();
            let left = waiter.deadline_time.and_then(|deadline| deadline.duration_since(now).ok());
            let gives_up = left.map(|left| format!(", gives up in {}", elapsed(left))).unwrap_or_default();
            let place = right(&(index + 1).to_string(), NAMES);
            let text = format!("{}, {} for {waits}{gives_up}", waiter.caller.short(), turn_kind(waiter.is_session));
            self.row(&place, &text, Style::new());
        }
        let more = reader.waiter_count.saturating_sub(reader.waiters.len());
        if more > 0 {
            self.row("", &format!("and {more} more"), self.palette.muted);
        }
    }

    fn incidents(&mut self, reader: &Reader, now: SystemTime) {
        self.blank();
        if reader.incidents.is_empty() {
            return self.row("Incidents", "none", self.palette.muted);
        }
        self.row("Incidents", "", Style::new());
        for incident in &reader.incidents {
            let time = age(incident.time, now).map(elapsed).unwrap_or_default();
            let times = if incident.count > 1 { format!(" ({} times)", incident.count) } else { String::new() };
            let message = if incident.message.is_empty() { String::new() } else { format!(": {}", incident.message) };
            let caller = incident.caller.as_ref().map(|caller| format!("; {}", caller.short())).unwrap_or_default();
            let text = format!("{}{times}{message}{caller}", incident.kind);
            self.row(&right(&format!("{time} ago"), NAMES), &text, Style::new());
        }
    }

    fn counters(&mut self, reader: &Reader) {
        self.blank();
        let counters = &reader.counters;
        let turns = reader.figures.turns_per_second.map(|turns| format!(", {turns:.1}/s")).unwrap_or_default();
        let p99 = reader.figures.p99_wait.map(|wait| format!(", p99 wait {}", measured(wait))).unwrap_or_default();
        let (units, sessions) = (count(counters.units, "unit"), count(counters.sessions, "session"));
        self.row("Turns", &format!("{units}, {sessions}{turns}{p99}"), Style::new());
        let (wait_time, card_time) = (elapsed_long(counters.wait_time), elapsed_long(counters.card_time));
        let commands = count(counters.commands, "command");
        let commands = format!("{commands}, {} not answered", counters.failed_commands);
        self.row("Card", &format!("{commands}; {card_time} in the driver, {wait_time} waited"), Style::new());
        let text = format!(
            "{} denied, {} not served, {} released, {}, {}",
            counters.denied,
            counters.not_served,
            counters.releases,
            count(counters.resets, "reset"),
            count(counters.insertions, "insertion"),
        );
        self.row("Events", &text, Style::new());
    }
}

fn turn(holder: &Holder, now: SystemTime) -> String {
    let held = lasting(holder.begin_time, now);
    let idle = match holder.idle_time {
        Some(time) => format!(", idle{}", lasting(Some(time), now)),
        None => ", a command runs".to_owned(),
    };
    let waited = holder.arrive_time.and_then(|arrive| holder.begin_time?.duration_since(arrive).ok());
    let waited = waited.map(|waited| format!(", waited {}", measured(waited))).unwrap_or_default();
    format!("{}{held}{idle}{waited}", turn_kind(holder.is_session))
}

fn commands(holder: &Holder) -> String {
    let of = if holder.commands > 0 { format!(" of {}", holder.commands) } else { String::new() };
    let last = holder.last_command.as_ref().map(|last| format!("; last: {last}")).unwrap_or_default();
    format!("{}{of} answered{last}", holder.done_commands)
}
