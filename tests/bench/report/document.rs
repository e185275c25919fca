//! The files that a run writes: results.md and results.json, and docs/benchmarks.md.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Table, target::targets_grid, wrapped};

/// The head line of docs/benchmarks.md.
const GENERATED: &str = "<!-- Written by make bench. Do not edit. -->";

/// A run: its circumstances, and what became of each case.
pub(crate) struct Report {
    /// The machine, the versions and the rounds, in sentences.
    pub(crate) settings: String,
    /// The cases that have ended, in order.
    pub(crate) sections: Vec<Section>,
}

/// One case of a run.
pub(crate) struct Section {
    /// The name of the case, as `--only` takes it.
    pub(crate) case: String,
    /// Its tables; the error's text if it has failed.
    pub(crate) outcome: Result<Vec<Table>, String>,
    /// The share of the processors' time that other programs used before or after the case, in percent, if that is
    /// too much for good figures.
    pub(crate) busy: Option<u32>,
}

impl Report {
    /// The tables of all cases that have not failed.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.sections.iter().filter_map(|section| section.outcome.as_ref().ok()).flatten()
    }

    /// Sentences about cases that have failed, or whose figures are less certain; one paragraph each.
    fn notes(&self) -> impl Iterator<Item = String> {
        self.sections.iter().flat_map(|Section { case, outcome, busy }| {
            let failed = outcome.as_ref().err().map(|error| format!("**The case `{case}` has failed:** {error}."));
            let loaded = busy.map(|busy| {
                format!(
                    "**The machine was loaded:** other programs used {busy} % of its processors beside the case \
                     `{case}`, so its figures are less certain."
                )
            });
            failed.into_iter().chain(loaded)
        })
    }

    /// The settings and the notes.
    fn head(&self) -> String {
        let paragraphs: Vec<_> =
            std::iter::once(self.settings.clone()).chain(self.notes()).map(|text| wrapped(&text)).collect();
        paragraphs.join("\n\n")
    }

    fn json(&self) -> Value {
        let case = |Section { case, outcome, busy }: &Section| {
            json!({
                "case": case,
                "error": outcome.as_ref().err(),
                "others_percent": busy,
                "tables": outcome.iter().flatten().map(Table::json).collect::<Vec<_>>(),
            })
        };
        json!({
            "settings": self.settings,
            "units": "times in µs, memory in KiB",
            "cases": self.sections.iter().map(case).collect::<Vec<_>>(),
        })
    }
}

/// Writes `results.md` and `results.json` into `folder`; returns the Markdown.
///
/// # Errors
/// An error of the operating system, on writing.
pub(crate) fn write(folder: &Path, report: &Report) -> io::Result<String> {
    let tables: Vec<_> = report.tables().map(Table::markdown).collect();
    let markdown = format!("# Cardbroker beside direct PC/SC\n\n{}\n\n{}", report.head(), tables.join("\n"));
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.md"), &markdown)?;
    fs::write(folder.join("results.json"), format!("{:#}\n", report.json()))?;
    Ok(markdown)
}

/// Writes docs/benchmarks.md below `root`, the top of the repository: [`GENERATED`], the text of tests/bench/reading.md
/// (none if that file is missing), the targets, and the tables, folded away.
///
/// # Errors
/// An error of the operating system, on reading and writing.
pub(crate) fn publish(root: &Path, report: &Report) -> io::Result<PathBuf> {
    let reading = match fs::read_to_string(root.join("tests/bench/reading.md")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        reading => format!("{}\n\n", reading?.trim_end()),
    };
    let targets = targets_grid(report.tables().flat_map(|table| &table.targets));
    let mut text = format!("{GENERATED}\n\n# Benchmarks\n\n{reading}## Results\n\n{}\n\n{targets}\n", report.head());
    for table in report.tables() {
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
    use crate::report::{COLUMNS, Cell, Limit, Target};

    fn report() -> Report {
        let rows = vec![vec![Cell::text("unit"), Cell::Count(3)]];
        let targets = vec![Target::new("a unit", Limit::AtMost(1.5), 1.2)];
        let columns = vec!["what", "how many"];
        let alone = Table { title: "Alone", about: "word ".repeat(50), columns, rows, targets };
        let section = |case: &str, outcome, busy| Section { case: case.into(), outcome, busy };
        let sections = vec![section("alone", Ok(vec![alone]), Some(40)), section("scale", Err("no card".into()), None)];
        Report { settings: "2 processors.".into(), sections }
    }

    #[test]
    fn the_document_is_head_line_reading_text_and_tables() {
        let root = tempfile::tempdir().unwrap();
        let publish = || fs::read_to_string(publish(root.path(), &report()).unwrap()).unwrap();

        let bare = publish();
        let begin = format!("{GENERATED}\n\n# Benchmarks\n\n## Results\n\n2 processors.\n\n");
        assert!(bare.starts_with(&begin) && bare.contains("| a unit | ≤ 1.5 | 1.20 | met |\n\n<details>"), "{bare}");
        assert!(bare.lines().all(|line| line.chars().count() <= COLUMNS), "{bare}");
        assert!(bare.ends_with("| unit | 3 |\n\n</details>\n"), "{bare}");

        fs::create_dir_all(root.path().join("tests/bench")).unwrap();
        fs::write(root.path().join("tests/bench/reading.md"), "Read it so.\n").unwrap();
        assert!(publish().contains("# Benchmarks\n\nRead it so.\n\n## Results\n\n2 processors."), "{}", publish());
    }

    #[test]
    fn failed_cases_and_a_loaded_machine_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let markdown = write(folder.path(), &report()).unwrap().replace('\n', " ");
        assert!(markdown.contains("other programs used 40 % of its processors beside the case `alone`"), "{markdown}");
        assert!(markdown.contains("**The case `scale` has failed:** no card."), "{markdown}");
        let json: Value =
            serde_json::from_str(&fs::read_to_string(folder.path().join("results.json")).unwrap()).unwrap();
        assert_eq!(json["cases"][0]["tables"][0]["title"], "Alone");
        assert_eq!(json["cases"][1]["error"], "no card");
    }
}
