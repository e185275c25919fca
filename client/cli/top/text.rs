//! Texts on a screen: measured, cut, wrapped; and durations with their units.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of a text on the screen, in columns.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A text of at most `columns` columns; what is cut ends with an ellipsis.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut kept = String::new();
    for character in text.chars() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or_default()) else { break };
        left = rest;
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A text of at most `columns` columns, without its middle if it is longer: names of readers differ at their ends.
pub(super) fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let most = columns.saturating_sub(1) / 2;
    let mut tail = String::new();
    for character in text.chars().rev() {
        if width(&tail) + character.width().unwrap_or_default() > most {
            break;
        }
        tail.insert(0, character);
    }
    cut(text, columns - width(&tail)) + &tail
}

/// A text of exactly `columns` columns, at the left edge.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let padding = columns.saturating_sub(width(&text));
    text + &" ".repeat(padding)
}

/// A text of exactly `columns` columns, at the right edge.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// Lines of at most `columns` columns, broken between words where possible.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let used = lines.last().map_or(0, |line| width(line));
        if used > 0 && used + 1 + width(word) > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut().filter(|line| !line.is_empty()) {
            line.push(' ');
        }
        for character in word.chars() {
            let is_full =
                lines.last().is_some_and(|line| width(line) + character.width().unwrap_or_default() > columns);
            if is_full {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(character);
            }
        }
    }
    lines
}

/// A measured duration in at most 7 columns: `1.2 ms`, `350 ms`, `4.2 s`, `45 s`, `12 min`, `5 h`, `3 d`.
pub(super) fn measured(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    match milliseconds {
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => elapsed(duration),
    }
}

/// An age in at most 6 columns: `0.3 s`, `4.2 s`, `45 s`, `12 min`, `5 h`, `3 d`.
pub(super) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An age in two units: `3 min 5 s`, `5 h 12 min`, `3 d 4 h`.
pub(super) fn elapsed_long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => elapsed(duration),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// An interval that a person has chosen: `250 ms`, `1 s`, `1.5 s`, `5 min`.
pub(super) fn regular(interval: Duration) -> String {
    match interval.subsec_millis() {
        0 if interval.as_secs() < 60 => format!("{} s", interval.as_secs()),
        _ if interval.as_secs() < 1 => measured(interval),
        _ => elapsed_long(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_has_the_width_and_an_ellipsis() {
        assert_eq!(
            (cut("firefox", 7), cut("firefox", 4), cut("firefox", 0)),
            ("firefox".into(), "fir…".into(), String::new())
        );
        assert_eq!((left("日本語", 4), width(&left("日本語", 4))), ("日… ".into(), 4));
        assert_eq!(right("45 s", 6), "  45 s");
    }

    #[test]
    fn a_reader_keeps_the_end_of_its_name() {
        assert_eq!(cut_middle("simulated-reader-02", 10), "simul…r-02");
        assert_eq!(
            (cut_middle("desk", 4), cut_middle("desk", 1), cut_middle("desk", 0)),
            ("desk".into(), "…".into(), "".into())
        );
    }

    #[test]
    fn lines_break_between_words_and_within_long_ones() {
        assert_eq!(wrap("the rule ci-only denied it", 10), ["the rule", "ci-only", "denied it"]);
        assert_eq!(wrap("abcdefghijk lm", 4), ["abcd", "efgh", "ijk", "lm"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn an_interval_is_written_as_it_was_chosen() {
        let told = [250, 1000, 1500, 300_000].map(Duration::from_millis).map(regular);
        assert_eq!(told, ["250 ms", "1 s", "1.5 s", "5 min"]);
    }

    #[test]
    fn a_duration_has_its_unit() {
        let told = |milliseconds| {
            let duration = Duration::from_millis(milliseconds);
            [measured(duration), elapsed(duration), elapsed_long(duration)].join(", ")
        };
        assert_eq!(told(3), "3.0 ms, 0.0 s, 0.0 s");
        assert_eq!(told(350), "350 ms, 0.3 s, 0.3 s");
        assert_eq!(told(4_250), "4.2 s, 4.2 s, 4.2 s");
        assert_eq!(told(59_999), "59 s, 59 s, 59 s");
        assert_eq!(told(185_000), "3 min, 3 min, 3 min 5 s");
        assert_eq!(told(7_200_000), "2 h, 2 h, 2 h");
        assert_eq!(told(100 * 3_600_000), "4 d, 4 d, 4 d 4 h");
    }
}
