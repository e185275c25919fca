//! Text for a terminal: rows with labels, lines of at most 80 columns, and colour.

use std::env;

/// The widest line, in characters.
pub(crate) const WIDTH: usize = 80;

/// The width of a label with what separates it from its text.
pub(crate) const LABEL: usize = 12;

/// A row: the label at the right of its column, then the text, whose further lines stand below its beginning.
pub(crate) fn row(label: &str, text: &str) -> String {
    let head = if label.is_empty() { " ".repeat(LABEL) } else { format!("{:>1$}: ", label, LABEL - 2) };
    fill(&head, LABEL, text)
}

/// A text after a head, broken between words into lines of at most [`WIDTH`] columns; all lines but the first are
/// indented. A longer word is broken anywhere.
pub(crate) fn fill(head: &str, indent: usize, text: &str) -> String {
    let mut filled = head.to_owned();
    let mut column = head.chars().count();
    let mut at_start = true;
    for word in words(text) {
        let length = word.chars().count();
        let needed = if at_start { length } else { length + 1 };
        if column + needed > WIDTH && !at_start {
            filled.push('\n');
            filled.push_str(&" ".repeat(indent));
            column = indent;
        } else if !at_start {
            filled.push(' ');
            column += 1;
        }
        for letter in word.chars() {
            if column == WIDTH {
                filled.push('\n');
                filled.push_str(&" ".repeat(indent));
                column = indent;
            }
            filled.push(letter);
            column += 1;
        }
        at_start = false;
    }
    filled.push('\n');
    filled
}

/// The words, of which a number and its unit are one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_number = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(number) if is_number => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        is_number = !is_number && word.trim_start_matches('(').bytes().all(|byte| byte.is_ascii_digit());
    }
    words
}

/// A line with a painted dot before it, and below it the rest of a text that is too long.
pub(crate) fn headline(dot: &str, colour: Option<Colour>, paint: Paint, text: &str) -> String {
    fill(&format!("{dot} "), 2, text).replacen(dot, &paint.paint(colour, dot), 1)
}

/// A colour of the terminal's own palette, readable on light and dark, or an emphasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Whether and how text is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Paints on a terminal, unless the variable `NO_COLOR` is set and not empty.
    pub(crate) fn on(terminal: bool) -> Self {
        Self(terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    #[cfg(test)]
    pub(crate) const NEVER: Self = Self(false);

    #[cfg(test)]
    pub(crate) const ALWAYS: Self = Self(true);

    pub(crate) fn paint(self, colour: Option<Colour>, text: &str) -> String {
        match colour {
            Some(colour) if self.0 => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_is_broken_between_words() {
        let told = row("Card", &format!("ATR {} T1", "AB".repeat(33)));
        let expected = format!("      Card: ATR\n{0:12}{1}\n{0:12}T1\n", "", "AB".repeat(33));
        assert_eq!(told, expected);
        let told = row("Turn", &format!("{} 12 min", "x".repeat(64)));
        assert_eq!(told, format!("      Turn: {}\n{:12}12 min\n", "x".repeat(64), ""));
    }

    #[test]
    fn no_line_is_wider_than_80_columns() {
        for length in 0..200 {
            let told = row("Card", &format!("{} é {}", "x".repeat(length), "y".repeat(200 - length)));
            assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
            assert_eq!(told.matches(['x', 'y', 'é']).count(), 201);
        }
        assert_eq!(row("", ""), format!("{:12}\n", ""));
    }

    #[test]
    fn colour_is_around_the_text_and_may_be_off() {
        assert_eq!(Paint::ALWAYS.paint(Some(Colour::Red), "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(
            (Paint::ALWAYS.paint(None, "x"), Paint::NEVER.paint(Some(Colour::Red), "x")),
            ("x".into(), "x".into())
        );
    }
}
