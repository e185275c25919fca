//! The list of readers: one row each, in columns that are left out one by one on a narrow screen.

use std::time::SystemTime;

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::palette::Palette;
use crate::top::{
    model::{Reader, Usability, age},
    order::Sort,
    text::{cut_middle, elapsed, left, measured, right, width},
    warnings,
};

/// The columns before a row: the signs of the selected row and of a warning.
const MARGIN: usize = 2;

/// The columns between two columns.
const GAP: usize = 2;

/// A column of the list.
struct Column {
    heading: &'static str,
    /// The order that it belongs to.
    sort: Option<Sort>,
    /// Its width beside few columns, and beside many.
    width: usize,
    comfortable: usize,
    is_number: bool,
    cell: fn(&Reader, SystemTime) -> String,
}

const fn text(
    heading: &'static str,
    sort: Option<Sort>,
    (width, comfortable): (usize, usize),
    cell: fn(&Reader, SystemTime) -> String,
) -> Column {
    Column { heading, sort, width, comfortable, is_number: false, cell }
}

const fn number(heading: &'static str, sort: Sort, width: usize, cell: fn(&Reader, SystemTime) -> String) -> Column {
    Column { heading, sort: Some(sort), width, comfortable: width, is_number: true, cell }
}

const READER: Column = text("READER", Some(Sort::Name), (10, 12), |reader, _| reader.id.clone());
const STATE: Column = text("STATE", None, (14, 14), |reader, _| state(reader));
const HOLDER: Column = text("HOLDER", None, (12, 18), |reader, _| holder(reader));
/// For screens without a column for the state.
const HOLDER_OR_STATE: Column = text("HOLDER", None, (12, 18), |reader, _| holder_or_state(reader));
const HELD: Column = number("HELD", Sort::Held, 6, |reader, now| reader.held(now).map(elapsed).unwrap_or_default());
const WAITING: Column = number("WAIT", Sort::Waiting, 4, |reader, _| positive(reader.waiter_count));
const LONGEST: Column =
    number("LONGEST", Sort::LongestWait, 7, |reader, now| reader.longest_wait(now).map(elapsed).unwrap_or_default());
const TURNS: Column = number("TURNS/S", Sort::Turns, 7, |reader, _| turns(reader));
const P99_WAIT: Column =
    number("P99 WAIT", Sort::P99Wait, 8, |reader, _| reader.figures.p99_wait.map(measured).unwrap_or_default());
const INCIDENT: Column = text("LAST INCIDENT", Some(Sort::Incident), (20, 20), incident);

/// The columns of screens, from the widest to the narrowest. The first one that fits is taken.
const SCREENS: &[&[&Column]] = &[
    &[&READER, &STATE, &HOLDER, &HELD, &WAITING, &LONGEST, &TURNS, &P99_WAIT, &INCIDENT],
    &[&READER, &STATE, &HOLDER, &HELD, &WAITING, &LONGEST, &TURNS, &P99_WAIT],
    &[&READER, &STATE, &HOLDER, &HELD, &WAITING, &LONGEST, &P99_WAIT],
    &[&READER, &STATE, &HOLDER, &HELD, &WAITING, &LONGEST],
    &[&READER, &STATE, &HOLDER, &HELD, &WAITING],
    &[&READER, &HOLDER_OR_STATE, &HELD, &WAITING],
    &[&READER, &HOLDER_OR_STATE, &WAITING],
    &[&READER, &HOLDER_OR_STATE],
];

/// The widest that the holder becomes before the last incident does.
const MAX_HOLDER: usize = 32;

/// The widest that a reader's name becomes.
const MAX_READER: usize = 40;

fn state(reader: &Reader) -> String {
    if reader.usability == Usability::NoCard { "no card".to_owned() } else { reader.state.clone() }
}

fn holder(reader: &Reader) -> String {
    reader.holder.as_ref().map_or("-".to_owned(), |holder| holder.caller.short())
}

/// The holder; without one the state, unless the reader is simply free.
fn holder_or_state(reader: &Reader) -> String {
    match reader.holder {
        None if reader.usability != Usability::Usable => format!("({})", state(reader)),
        _ => holder(reader),
    }
}

fn turns(reader: &Reader) -> String {
    let turns = reader.figures.turns_per_second.filter(|turns| *turns > 0.0);
    turns.map(|turns| format!("{turns:.1}")).unwrap_or_default()
}

fn positive(number: usize) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn incident(reader: &Reader, now: SystemTime) -> String {
    let Some(incident) = reader.incidents.first() else { return String::new() };
    let time = age(incident.time, now).map(|time| format!(" {} ago", elapsed(time))).unwrap_or_default();
    let message = if incident.message.is_empty() { String::new() } else { format!(": {}", incident.message) };
    format!("{}{time}{message}", incident.kind)
}

/// The rows of a list: its heading, and those readers around the selected one that fit into `height` rows.
pub(super) fn lines(
    readers: &[&Reader],
    selected: usize,
    sort: Sort,
    now: SystemTime,
    (columns, height): (usize, usize),
    palette: &Palette,
) -> Vec<Line<'static>> {
    let chosen = chosen(columns);
    let longest = readers.iter().map(|reader| width(&reader.id)).max().unwrap_or_default();
    let widths = widths(chosen, longest, columns);
    let mut lines = vec![heading(chosen, &widths, sort, palette)];
    let visible = height.saturating_sub(1).max(1);
    let first = (selected + 1).saturating_sub(visible);
    for (place, reader) in readers.iter().enumerate().skip(first).take(visible) {
        let warns = !warnings::of_reader(reader, now).is_empty();
        let is_selected = place == selected;
        let signs = format!("{}{}", if is_selected { '>' } else { ' ' }, if warns { '!' } else { ' ' });
        let text = signs + &cells(chosen, &widths, chosen.iter().map(|column| (column.cell)(reader, now)));
        let style = if warns { palette.warning } else { Style::new() };
        let style = if is_selected { style.patch(palette.selected) } else { style };
        lines.push(Line::styled(left(&text, columns), style));
    }
    lines
}

/// The columns that fit. The narrowest screens are drawn as far as they reach.
fn chosen(columns: usize) -> &'static [&'static Column] {
    let fits = |screen: &&&[&Column]| used(&base(screen)) <= columns;
    SCREENS.iter().find(fits).copied().unwrap_or_else(|| SCREENS.last().copied().unwrap_or_default())
}

/// The least widths of columns, which are larger beside many.
fn base(chosen: &[&Column]) -> Vec<usize> {
    let is_narrow = chosen.len() <= 4;
    chosen.iter().map(|column| if is_narrow { column.width } else { column.comfortable }).collect()
}

/// The width of a row.
fn used(widths: &[usize]) -> usize {
    MARGIN + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The widths of the columns. What is left over goes to the readers' names, then to the holder and the last incident.
/// It does not depend on what changes, so that the columns stand still.
fn widths(chosen: &[&Column], longest: usize, columns: usize) -> Vec<usize> {
    let mut widths = base(chosen);
    let mut left = columns.saturating_sub(used(&widths));
    for (heading, most) in [("READER", longest.min(MAX_READER)), ("HOLDER", MAX_HOLDER), ("LAST INCIDENT", columns)] {
        if let Some(place) = chosen.iter().position(|column| column.heading == heading) {
            let more = most.saturating_sub(widths[place]).min(left);
            widths[place] += more;
            left -= more;
        }
    }
    widths
}

fn heading(chosen: &[&Column], widths: &[usize], sort: Sort, palette: &Palette) -> Line<'static> {
    let mut spans = vec![Span::raw(" ".repeat(MARGIN))];
    for (column, width) in chosen.iter().zip(widths) {
        let text = if column.is_number { right(column.heading, *width) } else { left(column.heading, *width) };
        let style = if column.sort == Some(sort) { palette.heading } else { palette.muted };
        spans.extend([Span::styled(text, style), Span::raw(" ".repeat(GAP))]);
    }
    Line::from(spans)
}

fn cells(chosen: &[&Column], widths: &[usize], cells: impl Iterator<Item = String>) -> String {
    let cell = |((column, width), text): ((&&Column, &usize), String)| match column.heading {
        "READER" => left(&cut_middle(&text, *width), *width),
        _ if column.is_number => right(&text, *width),
        _ => left(&text, *width),
    };
    chosen.iter().zip(widths).zip(cells).map(cell).collect::<Vec<_>>().join(&" ".repeat(GAP))
}
