//! The results: tables, which [`document`] writes for people (Markdown) and for programs (JSON).

mod document;
mod target;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::{Map, Value, json};

pub(crate) use self::{
    document::{Report, Section, publish, write},
    target::{Limit, Target},
};
use crate::samples::{Samples, Spread};

/// The widest line of a paragraph, in characters.
const COLUMNS: usize = 100;

/// Prints the progress of the run on standard error.
pub(crate) fn progress(text: &str) {
    // Without standard error the progress is not shown.
    let _ = writeln!(io::stderr(), "bench: {text}");
}

/// One cell of a table. Times are in ns.
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    Time(i64),
    Ratio(Spread),
    /// An amount of memory, in KiB.
    Memory(f64),
    /// An empty cell, without a value.
    None,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The median, the 99 % quantile and the maximum.
    pub(crate) fn quantiles(samples: &Samples) -> [Self; 3] {
        [0.5, 0.99, 1.0].map(|share| Self::Time(samples.quantile(share)))
    }

    /// A row of samples: their name, their number, and their quantiles.
    pub(crate) fn row(name: &str, samples: &Samples) -> Vec<Self> {
        let [p50, p99, max] = Self::quantiles(samples);
        vec![Self::text(name), Self::Count(samples.len() as u64), p50, p99, max]
    }

    fn markdown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Time(time) => time_text(*time as f64),
            Self::Ratio(Spread { median, min, max }) => format!("**{median:.2}** ({min:.2}–{max:.2})"),
            Self::Memory(kibibytes) if *kibibytes >= 10_000.0 => format!("{:.1} MiB", kibibytes / 1024.0),
            Self::Memory(kibibytes) => format!("{kibibytes:.0} KiB"),
            Self::None => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Time(time) => json!(*time as f64 / 1e3),
            Self::Ratio(Spread { median, min, max }) => json!({ "median": median, "min": min, "max": max }),
            Self::Memory(kibibytes) => json!(kibibytes),
            Self::None => Value::Null,
        }
    }
}

/// A time in ns, with a unit that fits.
fn time_text(time: f64) -> String {
    match time.abs() {
        size if size < 1e3 => format!("{time:.0} ns"),
        size if size < 1e6 => format!("{:.1} µs", time / 1e3),
        size if size < 1e9 => format!("{:.2} ms", time / 1e6),
        _ => format!("{:.2} s", time / 1e9),
    }
}

/// One table and its targets.
pub(crate) struct Table {
    /// The heading of the table.
    pub(crate) title: &'static str,
    /// The subject of the measurement, and how to read it.
    pub(crate) about: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) targets: Vec<Target>,
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}", self.title, self.body());
        if !self.targets.is_empty() {
            text.push('\n');
            text += &target::targets_grid(&self.targets);
        }
        text
    }

    /// The table as Markdown, without its heading and its targets.
    fn body(&self) -> String {
        let cells = self.rows.iter().map(|row| row.iter().map(Cell::markdown).collect());
        format!("{}\n\n{}", wrapped(&self.about), grid(&self.columns, cells))
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| -> Map<String, Value> {
            self.columns.iter().map(|column| (*column).to_owned()).zip(row.iter().map(Cell::json)).collect()
        };
        let targets: Vec<_> = self.targets.iter().map(Target::json).collect();
        json!({
            "title": self.title,
            "about": self.about,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "targets": targets,
        })
    }
}

fn grid(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len()));
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Breaks a paragraph into lines of at most [`COLUMNS`], unless a word is longer.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 {
            let fits = column + 1 + width <= COLUMNS;
            wrapped.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        wrapped += word;
        column += width;
    }
    wrapped
}
