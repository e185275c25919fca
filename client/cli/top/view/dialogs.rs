//! The windows in front of a page: help, and the question before a release.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Padding, Paragraph},
};

use super::palette::Palette;
use crate::top::{
    dialog::Question,
    text::{left, wrap},
};

/// The widest window, in columns.
const MAX_COLUMNS: u16 = 64;

/// The keys, and what they do.
const KEYS: &[(&str, &str)] = &[
    ("Up Down", "select a reader, scroll its page"),
    ("Enter", "show the selected reader"),
    ("Esc", "back to the list; in the list: clear the filter"),
    ("/", "filter by reader, state, holder or waiter"),
    ("s", "sort by the next column"),
    ("space", "pause, go on"),
    ("r", "release the turn of the holder (asks first)"),
    ("Ctrl-L", "draw the screen again"),
    ("q Ctrl-C", "quit"),
];

/// The meaning of the figures and signs.
const FIGURES: &str = "TURNS/S: over 10 s. P99 WAIT: 99 of 100 turns of the last minute waited at most this long \
    (estimated). !: a warning.";

/// The width of the keys in the help.
const KEY_COLUMNS: usize = 9;

/// Draws the window with the help.
pub(super) fn help(frame: &mut Frame<'_>, palette: &Palette) {
    let columns = inner_columns(frame.area());
    let mut lines = Vec::new();
    for (key, text) in KEYS {
        for (index, line) in wrap(text, columns.saturating_sub(KEY_COLUMNS)).into_iter().enumerate() {
            let key = left(if index == 0 { key } else { "" }, KEY_COLUMNS);
            lines.push(Line::from(vec![Span::styled(key, palette.key), Span::raw(line)]));
        }
    }
    lines.push(Line::default());
    lines.extend(wrap(FIGURES, columns).into_iter().map(Line::from));
    window(frame, "Help", lines, palette);
}

/// Draws the question before a release. `is_over`: the turn has ended meanwhile.
pub(super) fn release(frame: &mut Frame<'_>, question: &Question, is_over: bool, palette: &Palette) {
    let columns = inner_columns(frame.area());
    let mut lines: Vec<_> = wrap(&format!("Release {}?", question.what), columns).into_iter().map(Line::from).collect();
    lines.push(Line::default());
    if is_over {
        let text = "This turn has ended. Nothing else will be released.";
        lines.extend(wrap(text, columns).into_iter().map(|line| Line::styled(line, palette.warning)));
        lines.push(Line::default());
    }
    let cursor = if question.is_asked { "" } else { "_" };
    let reason = format!("Reason (optional): {}{cursor}", question.order.reason);
    lines.extend(wrap(&reason, columns).into_iter().map(Line::from));
    lines.push(Line::default());
    let keys: &[(&str, &str)] = if question.is_asked {
        &[("y", "release"), ("any other key", "cancel")]
    } else {
        &[("Enter", "go on"), ("Esc", "cancel")]
    };
    lines.push(super::frame::keys(keys, columns, palette));
    window(frame, "Release", lines, palette);
}

/// The columns of text in a window.
fn inner_columns(area: Rect) -> usize {
    // Borders and padding.
    usize::from(area.width.min(MAX_COLUMNS).saturating_sub(4))
}

/// Draws a window in the middle of the screen.
fn window(frame: &mut Frame<'_>, title: &'static str, lines: Vec<Line<'static>>, palette: &Palette) {
    let screen = frame.area();
    let width = screen.width.min(MAX_COLUMNS);
    let height = screen.height.min(u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2));
    let (x, y) = ((screen.width - width) / 2, (screen.height - height) / 2);
    let area = Rect { x, y, width, height };
    let block =
        Block::bordered().title(Span::styled(format!(" {title} "), palette.title)).padding(Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
