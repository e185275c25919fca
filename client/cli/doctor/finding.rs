//! The findings of `cardbroker doctor`, and their form for people and programs.

use serde_json::{Value, json};

use crate::{
    layout::{Colour, Paint, fill},
    printable,
};

/// The column in which the texts of findings begin.
const INDENT: usize = 20;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything is as it should be.
    Ok,
    /// It works, but somebody may be surprised.
    Warning,
    /// Something does not work at all.
    Problem,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Self::Ok => Colour::Green,
            Self::Warning => Colour::Yellow,
            Self::Problem => Colour::Red,
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The subject of the check: `socket`, `readers`.
    pub(crate) check: &'static str,
    /// The finding for programs and reports, without anything of this machine: `not-in-group`.
    pub(crate) name: &'static str,
    /// The finding as a sentence for people.
    pub(crate) text: String,
    /// Commands to type, or sentences that say what to do; best first.
    pub(crate) steps: Vec<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, name, text: text.into(), steps: Vec::new() }
    }

    pub(crate) fn warning(check: &'static str, name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(check, name, text) }
    }

    pub(crate) fn problem(check: &'static str, name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::ok(check, name, text) }
    }

    /// Adds what to type or to do.
    pub(crate) fn step(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// One paragraph for people, with each step on lines of its own.
    pub(crate) fn paragraph(&self, paint: Paint) -> String {
        // Some checks have longer names than their column.
        let head = format!("{:9}{:<2$}", self.level.name(), format!("{} ", self.check), INDENT - 9);
        let text = fill(&head, INDENT, &printable(&self.text));
        // Painted afterwards: the colour's characters have no width.
        let first = text.replacen(self.level.name(), &paint.paint(Some(self.level.colour()), self.level.name()), 1);
        let steps = self.steps.iter().map(|step| step_lines(step));
        std::iter::once(first).chain(steps).collect()
    }

    pub(crate) fn object(&self) -> Value {
        json!({
            "level": self.level.name(),
            "check": self.check,
            "name": self.name,
            "message": printable(&self.text),
            "steps": self.steps,
        })
    }
}

/// A step in lines. A step of several lines is a text to paste, which stays as it is.
fn step_lines(step: &str) -> String {
    match step.split_once('\n') {
        None if step.starts_with(char::is_uppercase) => fill(&arrow(), INDENT + 2, &printable(step)),
        None => format!("{}{}\n", arrow(), printable(step)),
        Some((first, rest)) => {
            let rest = rest.lines().map(|line| format!("{}{}\n", " ".repeat(INDENT + 2), printable(line)));
            format!("{}{}\n{}", arrow(), printable(first), rest.collect::<String>())
        }
    }
}

fn arrow() -> String {
    format!("{}> ", " ".repeat(INDENT))
}

/// The last line: how many problems and warnings there are.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let count = |level, noun: &str| match findings.iter().filter(|finding| finding.level == level).count() {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    };
    format!("{}, {}", count(Level::Problem, "problem"), count(Level::Warning, "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_paragraph_with_its_steps() {
        let text = "the socket is open to the group cards, and you have been in that group only since your last login";
        let finding = Finding::problem("socket", "new-group", text)
            .step("Log in again.")
            .step("newgrp cards")
            .step("polkit.addRule(\n    x\n);");
        let expected = "\
problem  socket     the socket is open to the group cards, and you have been in
                    that group only since your last login
                    > Log in again.
                    > newgrp cards
                    > polkit.addRule(
                          x
                      );
";
        assert_eq!(finding.paragraph(Paint::NEVER), expected);
        let painted = finding.paragraph(Paint::ALWAYS);
        assert!(painted.starts_with("\u{1b}[31mproblem\u{1b}[0m  socket     the socket"), "{painted}");
        assert!(Finding::ok("x", "y", "a\u{1b}[2Jb").paragraph(Paint::NEVER).contains("a\u{FFFD}[2Jb"));
    }

    #[test]
    fn the_summary_counts() {
        let all = [Finding::ok("a", "b", ""), Finding::problem("a", "b", ""), Finding::problem("a", "b", "")];
        assert_eq!(summary(&all), "2 problems, no warnings");
    }
}
