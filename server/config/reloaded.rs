//! The changes of a reload, part by part, for operators and for the log. Pure.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use cardbroker_core::policy::rule::Rule;

use super::Config;

/// The most names that are listed.
const MAX_NAMES: usize = 32;

/// A part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The rules of the policy.
    Rules,
    /// All other settings, which count at the start alone.
    Settings,
    /// The tokens of callers on TCP.
    Tokens,
}

/// The outcome for one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// It was read and differs in nothing.
    Unchanged,
    /// It differs and is in force.
    InForce,
    /// It differs and takes effect at the next start.
    AfterRestart,
    /// It cannot be read, and `message` says why.
    Failed,
}

/// A part after a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadedPart {
    /// The part that the other fields describe.
    pub part: Part,
    /// The outcome of the reload for this part.
    pub state: PartState,
    /// The file that it was read from; `None` for the built-in defaults.
    pub file: Option<PathBuf>,
    /// The names of rules and tokens, or the keys of settings, that differ; at most 32.
    pub changed: Vec<String>,
    /// How many differ that are not listed.
    pub more: usize,
    /// For people: the line of the log, without values of settings.
    pub message: String,
}

/// The end of a reload: its parts, or the mistake for which the files were refused.
pub type ReloadOutcome = Result<Vec<ReloadedPart>, String>;

impl ReloadedPart {
    /// The rules `new`, which replace `old`.
    pub fn rules(old: &[Rule], new: &[Rule], file: Option<PathBuf>) -> Self {
        let difference = Difference::new(&named(old), &named(new));
        let count = match new.len() {
            0 => "none in force".to_owned(),
            count => format!("{count} in force"),
        };
        let what = match () {
            () if !difference.is_empty() => difference.told(),
            () if old != new => "; in another order".to_owned(),
            () => ", unchanged".to_owned(),
        };
        let state = if old == new { PartState::Unchanged } else { PartState::InForce };
        Self::new(Part::Rules, state, file, difference.names(), format!("rules: {count}{what}"))
    }

    /// The settings `new` of a broker that has started with `start`. Both are without rules.
    pub fn settings(start: &Config, new: &Config, file: Option<PathBuf>) -> Self {
        if start == new {
            return Self::new(Part::Settings, PartState::Unchanged, file, Vec::new(), "settings: unchanged".to_owned());
        }
        let keys = start.differing_keys(new);
        let message = format!("settings: changes that take effect at the next start: {}", list(&keys));
        Self::new(Part::Settings, PartState::AfterRestart, file, keys, message)
    }

    /// The tokens `new`, by name and hash, which replace `old`.
    pub fn tokens<H: PartialEq>(old: &[(String, H)], new: &[(String, H)], file: PathBuf) -> Self {
        let difference = Difference::new(old, new);
        let state = if difference.is_empty() { PartState::Unchanged } else { PartState::InForce };
        let what = if difference.is_empty() { ", unchanged".to_owned() } else { difference.told() };
        let message = format!("tokens: {} valid{what}", new.len());
        Self::new(Part::Tokens, state, Some(file), difference.names(), message)
    }

    /// Tokens that cannot be read; `message` says why and what counts.
    pub fn failed_tokens(file: PathBuf, message: String) -> Self {
        Self::new(Part::Tokens, PartState::Failed, Some(file), Vec::new(), message)
    }

    fn new(part: Part, state: PartState, file: Option<PathBuf>, mut changed: Vec<String>, message: String) -> Self {
        let more = changed.len().saturating_sub(MAX_NAMES);
        changed.truncate(MAX_NAMES);
        Self { part, state, file, changed, more, message }
    }
}

/// The names that two lists do not have in common with equal values.
struct Difference {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Difference {
    /// The names of each list are unique.
    fn new<V: PartialEq>(old: &[(String, V)], new: &[(String, V)]) -> Self {
        let before: HashMap<_, _> = old.iter().map(|(name, value)| (name, value)).collect();
        let names: HashSet<_> = new.iter().map(|(name, _)| name).collect();
        let mut difference = Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
        for (name, value) in new {
            match before.get(name) {
                None => difference.added.push(name.clone()),
                Some(former) if *former != value => difference.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|(name, _)| !names.contains(name));
        difference.removed.extend(gone.map(|(name, _)| name.clone()));
        difference
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    fn told(&self) -> String {
        let parts = [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        let told = parts.into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(what, names)| format!("; {what} {}", list(names))).collect()
    }

    fn names(self) -> Vec<String> {
        [self.added, self.changed, self.removed].concat()
    }
}

/// The rules with their names.
fn named(rules: &[Rule]) -> Vec<(String, &Rule)> {
    rules.iter().map(|rule| (rule.name.to_string(), rule)).collect()
}

/// The names, at most [`MAX_NAMES`] of them.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Config {
    /// The keys whose values differ from those of `other`, with their sections, as in `listen.socket` and
    /// `reader[0].match`. Of lists of another length the list itself.
    fn differing_keys(&self, other: &Self) -> Vec<String> {
        let table = |config: &Self| toml::Table::try_from(config).unwrap_or_default();
        let mut keys = Vec::new();
        compare("", &table(self), &table(other), &mut keys);
        keys
    }
}

fn compare(prefix: &str, one: &toml::Table, other: &toml::Table, keys: &mut Vec<String>) {
    let only_in_other = other.iter().filter(|(key, _)| !one.contains_key(*key));
    for (key, value) in one.iter().chain(only_in_other) {
        let name = format!("{prefix}{key}");
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => compare(&format!("{name}."), a, b, keys),
            (None, Some(toml::Value::Table(only))) | (Some(toml::Value::Table(only)), None) => {
                compare(&format!("{name}."), &toml::Table::new(), only, keys);
            }
            (Some(toml::Value::Array(a)), Some(toml::Value::Array(b))) if a.len() == b.len() && has_tables(value) => {
                for (index, pair) in a.iter().zip(b).enumerate() {
                    if let (toml::Value::Table(a), toml::Value::Table(b)) = pair {
                        compare(&format!("{name}[{index}]."), a, b, keys);
                    }
                }
            }
            (a, b) if a != b => keys.push(name),
            _ => {}
        }
    }
}

fn has_tables(value: &toml::Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(toml::Value::is_table))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        let config = Config::parse(Path::new("c.toml"), text).unwrap();
        Config { source: None, ..config }
    }

    fn rules(names: &[&str], allow: &str) -> Vec<Rule> {
        let rule = |name: &&str| format!("[[rule]]\nname = '{name}'\nprincipals = ['self']\nallow = ['{allow}']\n");
        config(&names.iter().map(rule).collect::<String>()).rules
    }

    #[test]
    fn rules_are_compared_by_name_value_and_order() {
        let told = |old: &[Rule], new: &[Rule]| {
            let part = ReloadedPart::rules(old, new, None);
            (part.state, part.message)
        };
        let (ab, bc) = (rules(&["a", "b"], "see"), rules(&["b", "c"], "all"));
        let in_force = |text: &str| (PartState::InForce, text.to_owned());
        assert_eq!(told(&ab, &bc), in_force("rules: 2 in force; added c; changed b; removed a"));
        assert_eq!(told(&ab, &rules(&["b", "a"], "see")), in_force("rules: 2 in force; in another order"));
        assert_eq!(told(&ab, &ab), (PartState::Unchanged, "rules: 2 in force, unchanged".into()));
        assert_eq!(told(&[], &[]), (PartState::Unchanged, "rules: none in force, unchanged".into()));
        assert_eq!(told(&ab, &[]), in_force("rules: none in force; removed a, b"));
    }

    #[test]
    fn settings_that_differ_are_named_without_values() {
        let keys = |old: &str, new: &str| ReloadedPart::settings(&config(old), &config(new), None).changed;
        assert_eq!(keys("", ""), [""; 0]);
        assert_eq!(keys("", "listen.max_connections = 1\nlog.apdus = true"), ["listen.max_connections", "log.apdus"]);
        let reader = |alias: &str| format!("[[reader]]\nmatch = '.*a'\nalias = '{alias}'\n");
        assert_eq!(keys(&reader("x"), &reader("y")), ["reader[0].alias"]);
        assert_eq!(keys("", &reader("x")), ["reader"]);
        let part = ReloadedPart::settings(&config(""), &config("listen.max_connections = 1"), None);
        assert_eq!(part.message, "settings: changes that take effect at the next start: listen.max_connections");
        assert_eq!(part.state, PartState::AfterRestart);
    }

    #[test]
    fn a_flood_of_names_is_counted() {
        let tokens = |count: usize| (0..count).map(|number| (format!("t{number}"), 0)).collect::<Vec<_>>();
        let part = ReloadedPart::tokens(&tokens(0), &tokens(40), "tokens".into());
        assert_eq!((part.changed.len(), part.more), (32, 8));
        assert!(part.message.ends_with("t31 and 8 more"), "{}", part.message);
        let part = ReloadedPart::tokens(&tokens(2), &tokens(2), "tokens".into());
        assert_eq!((part.state, &*part.message), (PartState::Unchanged, "tokens: 2 valid, unchanged"));
    }
}
