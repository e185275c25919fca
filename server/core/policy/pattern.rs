//! A regular expression for names in the configuration.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// A regular expression that must match a whole name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// Whether the expression matches all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.whole.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The pattern must also compile alone, so that `a)(b` is not made valid by the group around it.
        let compiled = Regex::new(&text).and_then(|_| Regex::new(&format!(r"\A(?:{text})\z")));
        match compiled {
            Ok(whole) => Ok(Self { text, whole }),
            Err(error) => {
                // The crate prints several lines, with the cause in the last one.
                let lines = error.to_string();
                let cause = lines.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("not a regular expression: {cause}"))
            }
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}
