//! The styles of the screen. They repeat what words and signs say, so that the screen is complete without colors.

use ratatui::style::{Color, Modifier, Style};

/// Terminals that have no colors, by the beginnings of their names in `TERM`.
const COLORLESS: &[&str] = &["dumb", "vt100", "vt102", "vt220", "vt320", "vt420"];

/// One style for each role on the screen.
#[derive(Debug, Clone, Copy)]
pub(in crate::top) struct Palette {
    pub(super) title: Style,
    pub(super) heading: Style,
    pub(super) key: Style,
    pub(super) muted: Style,
    pub(super) warning: Style,
    pub(super) selected: Style,
}

impl Palette {
    /// The styles for a terminal with or without colors. The colors are of the terminal's own sixteen, which fit its
    /// background.
    pub(in crate::top) fn new(has_colors: bool) -> Self {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let accent = if has_colors { bold.fg(Color::Cyan) } else { bold };
        Self {
            title: accent,
            heading: accent,
            key: accent,
            muted: Style::new().add_modifier(Modifier::DIM),
            warning: if has_colors { bold.fg(Color::Red) } else { bold },
            selected: Style::new().add_modifier(Modifier::REVERSED),
        }
    }
}

/// Whether to use colors: the variable `NO_COLOR` is unset or empty, and the terminal that `TERM` names has some.
pub(in crate::top) fn has_colors(no_color: Option<&str>, term: &str) -> bool {
    no_color.is_none_or(str::is_empty)
        && !COLORLESS.iter().any(|name| term.starts_with(name))
        && !["-m", "-mono"].iter().any(|end| term.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_old_terminals_have_no_colors() {
        assert!(has_colors(None, "xterm-256color") && has_colors(Some(""), "screen"));
        assert!(!has_colors(Some("1"), "xterm-256color"));
        for term in ["dumb", "vt100", "xterm-mono", "xterm-m"] {
            assert!(!has_colors(None, term), "{term}");
        }
    }

    #[test]
    fn a_palette_without_colors_names_none() {
        let Palette { title, heading, key, muted, warning, selected } = Palette::new(false);
        for style in [title, heading, key, muted, warning, selected] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
