//! The edges of the screen: the title and the broker above; warnings, the message and the keys below.

use ratatui::text::{Line, Span};

use super::palette::Palette;
use crate::top::{
    dialog::Dialog,
    model::{Broker, Pcsc, age},
    state::{Page, State},
    text::{cut, elapsed_long, regular, width},
    warnings,
};
use crate::words::{count, quoted};

/// The most lines of warnings. The last one then counts those that are left out.
const MAX_WARNINGS: usize = 4;

/// The lines above a page.
pub(super) fn above(state: &State, columns: usize, palette: &Palette) -> Vec<Line<'static>> {
    let link = link(state);
    let name = "cardbroker top";
    let left = columns.saturating_sub(width(name) + width(&link.0) + 4);
    // Half an address helps nobody.
    let endpoint = if width(&state.endpoint) <= left { state.endpoint.clone() } else { String::new() };
    let gap = columns.saturating_sub(width(name) + 2 + width(&endpoint) + width(&link.0));
    let style = if link.1 { palette.warning } else { palette.title };
    let mut lines = vec![Line::from(vec![
        Span::styled(name, palette.title),
        Span::raw("  "),
        Span::styled(endpoint, palette.muted),
        Span::raw(" ".repeat(gap)),
        Span::styled(link.0, style),
    ])];
    lines.push(Line::from(cut(&[summary(state), order(state)].concat(), columns)));
    if let Some(snapshot) = state.snapshot()
        && let Some(broker) = &snapshot.broker
    {
        let started = age(broker.start_time, state.moment()).map(elapsed_long);
        lines.push(Line::styled(cut(&about(broker, started), columns), palette.muted));
    }
    lines.push(Line::default());
    lines
}

/// Whether the screen is up to date, in a word or two; and whether that is a warning.
fn link(state: &State) -> (String, bool) {
    match (state.lost_for(), state.is_paused, state.snapshot()) {
        (Some(time), ..) => (format!("reconnecting for {}", elapsed_long(time)), true),
        (None, true, _) => ("paused".to_owned(), true),
        (None, false, None) => ("connecting".to_owned(), false),
        (None, false, Some(_)) => (format!("every {}", regular(state.interval)), false),
    }
}

fn summary(state: &State) -> String {
    let Some(snapshot) = state.snapshot() else { return String::new() };
    let held = snapshot.readers.iter().filter(|reader| reader.holder.is_some()).count();
    let waiting: usize = snapshot.readers.iter().map(|reader| reader.waiter_count).sum();
    let readers = count(i64::try_from(snapshot.readers.len()).unwrap_or(i64::MAX), "reader");
    format!("{readers}, {held} held, {waiting} waiting")
}

/// The order and the filter of the list.
fn order(state: &State) -> String {
    if state.page != Page::List {
        return String::new();
    }
    let filter = if state.filter.is_empty() { String::new() } else { format!(", filter {}", quoted(&state.filter)) };
    format!("; by {}{filter}", state.sort.words())
}

fn about(broker: &Broker, started: Option<String>) -> String {
    let started = started.map(|time| format!(" up {time}")).unwrap_or_default();
    let pcsc = match broker.pcsc {
        Pcsc::Serving => "PC/SC serving",
        Pcsc::Unavailable => "PC/SC unavailable",
        Pcsc::Simulated => "simulated readers",
        Pcsc::Unknown => "PC/SC unknown",
    };
    let connections = count(i64::try_from(broker.connections).unwrap_or(i64::MAX), "connection");
    format!("broker {}{started}, {pcsc}, {connections}", broker.version)
}

/// The lines below a page and its place.
pub(super) fn below(state: &State, columns: usize, palette: &Palette) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let (Page::List, Some(snapshot)) = (&state.page, state.snapshot()) {
        let mut warnings: Vec<_> =
            warnings::all(snapshot, state.moment()).into_iter().map(|warning| warning.text).collect();
        if warnings.len() > MAX_WARNINGS {
            let more = warnings.len() - (MAX_WARNINGS - 1);
            warnings.truncate(MAX_WARNINGS - 1);
            warnings.push(format!("and {more} more warnings"));
        }
        let warning = |text: String| Line::styled(cut(&format!("! {text}"), columns), palette.warning);
        lines.extend(warnings.into_iter().map(warning));
    }
    if let Some((why, _)) = &state.lost {
        lines.push(Line::styled(cut(&format!("! {why}"), columns), palette.warning));
    }
    lines.push(match (&state.dialog, &state.message) {
        (Some(Dialog::Filter { .. }), _) => {
            let text = format!("/{}_", state.filter);
            Line::styled(cut(&text, columns), palette.title)
        }
        (_, Some(message)) => {
            let style = if message.is_good { palette.title } else { palette.warning };
            Line::styled(cut(&message.text, columns), style)
        }
        _ => keys(keys_of(state), columns, palette),
    });
    lines
}

/// The keys that matter now, and what they do; the first ones matter most.
fn keys_of(state: &State) -> &'static [(&'static str, &'static str)] {
    match (&state.page, &state.only) {
        (Page::List, _) => &[
            ("q", "quit"),
            ("?", "help"),
            ("Enter", "show"),
            ("r", "release"),
            ("/", "filter"),
            ("s", "sort"),
            ("space", "pause"),
        ],
        (Page::Reader(_), None) => {
            &[("q", "quit"), ("?", "help"), ("Esc", "back"), ("r", "release"), ("space", "pause")]
        }
        (Page::Reader(_), Some(_)) => &[("q", "quit"), ("?", "help"), ("r", "release"), ("space", "pause")],
    }
}

/// As many keys as fit on one line.
pub(super) fn keys(keys: &[(&'static str, &'static str)], columns: usize, palette: &Palette) -> Line<'static> {
    let mut spans = Vec::new();
    let mut left = columns;
    for (key, text) in keys {
        let gap = if spans.is_empty() { "" } else { "  " };
        let Some(rest) = left.checked_sub(width(gap) + width(key) + 1 + width(text)) else { break };
        left = rest;
        spans.extend([Span::raw(gap), Span::styled(*key, palette.key), Span::raw(" "), Span::raw(*text)]);
    }
    Line::from(spans)
}
