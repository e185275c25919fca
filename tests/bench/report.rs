//! The results, as tables for people (Markdown) and for programs (JSON).

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::samples::{Samples, Spread};

/// The head line of docs/benchmarks.md.
const GENERATED: &str = "<!-- Written by make bench. Do not edit. -->";

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

fn time_text(time: f64) -> String {
    match time.abs() {
        size if size < 1e3 => format!("{time:.0} ns"),
        size if size < 1e6 => format!("{:.1} µs", time / 1e3),
        size if size < 1e9 => format!("{:.2} ms", time / 1e6),
        _ => format!("{:.2} s", time / 1e9),
    }
}

/// The limit that a target sets.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// A ratio, as an upper limit.
    AtMost(f64),
    /// A ratio, as a lower limit.
    AtLeast(f64),
    /// A time in ns, as an upper limit.
    Within(f64),
    /// Memory in KiB, as an upper limit.
    Below(f64),
}

/// A target: a limit and the measured value.
pub(crate) struct Target {
    what: String,
    limit: Limit,
    measured: f64,
}

impl Target {
    pub(crate) fn new(what: impl Into<String>, limit: Limit, measured: f64) -> Self {
        Self { what: what.into(), limit, measured }
    }

    /// Whether the target is about `what`.
    pub(crate) fn is_about(&self, what: &str) -> bool {
        self.what == what
    }

    fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) | Limit::Within(limit) | Limit::Below(limit) => self.measured <= limit,
            Limit::AtLeast(limit) => self.measured >= limit,
        }
    }

    fn verdict(&self) -> &'static str {
        if self.is_met() { "met" } else { "**missed**" }
    }

    /// The limit and the measured value, as text for people.
    fn texts(&self) -> (String, String) {
        match self.limit {
            Limit::AtMost(limit) => (format!("≤ {limit}"), format!("{:.2}", self.measured)),
            Limit::AtLeast(limit) => (format!("≥ {limit}"), format!("{:.2}", self.measured)),
            Limit::Within(limit) => (format!("≤ {}", time_text(limit)), time_text(self.measured)),
            Limit::Below(limit) => (format!("≤ {limit} KiB"), format!("{:.0} KiB", self.measured)),
        }
    }

    fn json(&self) -> Value {
        let (limit, measured) = self.texts();
        json!({ "what": self.what, "limit": limit, "measured": measured, "met": self.is_met() })
    }
}

/// One table and its targets.
pub(crate) struct Table {
    /// The heading of the table.
    pub(crate) title: &'static str,
    /// What was measured, and how to read it.
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
            text += &targets_grid(&self.targets);
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

fn targets_grid<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    let rows = targets.into_iter().map(|target| {
        let (limit, measured) = target.texts();
        vec![target.what.clone(), limit, measured, target.verdict().to_owned()]
    });
    grid(&["target", "limit", "measured", ""], rows)
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

/// Writes `results.md` and `results.json` into `folder`; returns the Markdown.
///
/// # Errors
/// The operating system's error, on writing.
pub(crate) fn write(folder: &Path, settings: &str, tables: &[Table]) -> io::Result<String> {
    let markdown: Vec<_> = tables.iter().map(Table::markdown).collect();
    let markdown = format!("# Cardbroker beside direct PC/SC\n\n{settings}\n\n{}", markdown.join("\n"));
    let json = json!({
        "settings": settings,
        "units": "times in µs, memory in KiB",
        "tables": tables.iter().map(Table::json).collect::<Vec<_>>(),
    });
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.md"), &markdown)?;
    fs::write(folder.join("results.json"), format!("{json:#}\n"))?;
    Ok(markdown)
}

/// Writes docs/benchmarks.md below `root`, the top of the repository: [`GENERATED`], the text of tests/bench/reading.md
/// (none if that file is missing), the targets, and the tables, folded away.
///
/// # Errors
/// The operating system's error, on reading and writing.
pub(crate) fn publish(root: &Path, settings: &str, tables: &[Table]) -> io::Result<PathBuf> {
    let reading = match fs::read_to_string(root.join("tests/bench/reading.md")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        reading => format!("{}\n\n", reading?.trim_end()),
    };
    let targets = targets_grid(tables.iter().flat_map(|table| &table.targets));
    let mut text =
        format!("{GENERATED}\n\n# Benchmarks\n\n{reading}## Results\n\n{}\n\n{targets}\n", wrapped(settings));
    for table in tables {
        // Writing to a string does not fail.
        let _ = write!(text, "<details>\n<summary>{}</summary>\n\n{}\n</details>\n", table.title, table.body());
    }
    let document = root.join("docs/benchmarks.md");
    fs::create_dir_all(root.join("docs"))?;
    fs::write(&document, text)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure here is the test's own message")]

    use super::*;

    #[test]
    fn the_document_is_head_line_reading_text_and_tables() {
        let root = tempfile::tempdir().unwrap();
        let about = "word ".repeat(50);
        let rows = vec![vec![Cell::text("unit"), Cell::Count(3)]];
        let targets = vec![Target::new("a unit", Limit::AtMost(1.5), 1.2)];
        let tables = [Table { title: "Alone", about, columns: vec!["what", "how many"], rows, targets }];
        let publish = || fs::read_to_string(publish(root.path(), "2 processors.", &tables).unwrap()).unwrap();

        let bare = publish();
        let begin = format!("{GENERATED}\n\n# Benchmarks\n\n## Results\n\n2 processors.\n\n| target |");
        assert!(bare.starts_with(&begin) && bare.contains("| a unit | ≤ 1.5 | 1.20 | met |\n\n<details>"), "{bare}");
        assert!(bare.lines().all(|line| line.chars().count() <= COLUMNS), "{bare}");
        assert!(bare.ends_with("| unit | 3 |\n\n</details>\n"), "{bare}");

        fs::create_dir_all(root.path().join("tests/bench")).unwrap();
        fs::write(root.path().join("tests/bench/reading.md"), "Read it so.\n").unwrap();
        assert!(publish().contains("# Benchmarks\n\nRead it so.\n\n## Results\n\n2 processors."), "{}", publish());
    }
}
