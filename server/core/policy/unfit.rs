//! Rules and patterns that fit no present reader: valid, but without effect, and often a mistake.

use super::{pattern::Pattern, reader_names::ReaderNames, rule::Rule};

/// A rule or an entry of the configuration that fits no present reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Whether it leaves something open that somebody wanted closed: it denies.
    pub denies: bool,
    /// The part without an effect and the reason, as a sentence for people, without a period.
    pub message: String,
}

/// Returns the part of a rule that has no effect; `None` if each of its patterns fits a reader of `present`, or it
/// applies to all readers.
pub fn of_rule(rule: &Rule, present: &[ReaderNames]) -> Option<Unfit> {
    let fits = |pattern: &&Pattern| {
        present.iter().any(|reader| pattern.matches(&reader.id) || pattern.matches(&reader.display_name))
    };
    let (fitting, unfit): (Vec<_>, Vec<_>) = rule.readers().iter().partition(fits);
    let patterns = unfit.iter().map(|pattern| format!("\"{}\"", pattern.as_str())).collect::<Vec<_>>().join(", ");
    let (name, verb) = (&rule.name, if rule.denies() { "denies" } else { "allows" });
    let message = match (unfit.is_empty(), fitting.is_empty()) {
        (true, _) => return None,
        (false, true) => format!("rule \"{name}\" {verb} nothing: no reader here fits {patterns}"),
        (false, false) => format!("rule \"{name}\" {verb} nothing by {patterns}: no reader here fits"),
    };
    Some(Unfit { denies: rule.denies(), message })
}
