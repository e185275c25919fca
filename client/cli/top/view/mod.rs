//! The screen, drawn from the state. Nothing here changes the state or touches a terminal.

mod dialogs;
mod frame;
mod page;
mod palette;
mod table;

pub(super) use palette::{Palette, has_colors};
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{
    dialog::Dialog,
    model::{Reader, Snapshot},
    state::{Page, State},
    text::right,
};

/// The line below a page that says which part of it is visible.
const PLACE_ROWS: usize = 1;

/// Draws the state. Returns how far the page can be scrolled.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>, palette: &Palette) -> usize {
    let area = frame.area();
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let above = frame::above(state, columns, palette);
    let mut below = frame::below(state, columns, palette);
    let height = rows.saturating_sub(above.len() + below.len() + PLACE_ROWS);
    let listed = state.listed();
    let page = page(state, &listed, columns, height, palette);
    let limit = page.len().saturating_sub(height);
    let first = if state.page == Page::List { 0 } else { state.scroll.min(limit) };
    let place = place(state, &listed, (first, height, page.len()));
    below.insert(0, Line::styled(right(&place, columns), palette.muted));
    let top = above.len();
    put(frame, above, 0);
    put(frame, page.into_iter().skip(first).take(height).collect(), top);
    let bottom = rows.saturating_sub(below.len());
    put(frame, below, bottom);
    match &state.dialog {
        Some(Dialog::Help) => dialogs::help(frame, palette),
        Some(Dialog::Release(question)) => {
            let is_over = question.is_over(state.reader(&question.order.reader));
            dialogs::release(frame, question, is_over, palette);
        }
        Some(Dialog::Filter { .. }) | None => {}
    }
    limit
}

fn page(state: &State, listed: &[&Reader], columns: usize, height: usize, palette: &Palette) -> Vec<Line<'static>> {
    let Some(snapshot) = state.snapshot() else { return Vec::new() };
    let now = state.moment();
    match &state.page {
        Page::Reader(name) => match state.reader(name) {
            Some(reader) => page::lines(reader, now, columns, palette),
            None => vec![Line::styled("this reader is not there, or you may not diagnose it", palette.warning)],
        },
        Page::List => match nothing(snapshot, listed.is_empty()) {
            Some(text) => vec![Line::styled(text, palette.muted)],
            None => table::lines(listed, state.selected(listed), state.sort, now, (columns, height), palette),
        },
    }
}

/// Which part of a page is visible, if not all of it is.
fn place(state: &State, listed: &[&Reader], (first, height, length): (usize, usize, usize)) -> String {
    match state.page {
        Page::Reader(_) if length > height => format!("lines {}-{} of {length}", first + 1, first + height),
        Page::Reader(_) => String::new(),
        Page::List if listed.len() + 1 > height => {
            format!("reader {} of {}", state.selected(listed) + 1, listed.len())
        }
        Page::List => String::new(),
    }
}

/// The words in place of an empty list.
fn nothing(snapshot: &Snapshot, is_empty: bool) -> Option<&'static str> {
    match (is_empty, snapshot.readers.is_empty()) {
        (true, true) => Some("no readers, or none that you may diagnose"),
        (true, false) => Some("no reader fits the filter"),
        (false, _) => None,
    }
}

/// Draws lines from a row on, as far as the screen reaches.
fn put(frame: &mut Frame<'_>, lines: Vec<Line<'static>>, row: usize) {
    let area = frame.area();
    let y = u16::try_from(row).unwrap_or(u16::MAX).min(area.height);
    frame.render_widget(Paragraph::new(lines), Rect { y, height: area.height - y, ..area });
}

#[cfg(test)]
mod tests;
