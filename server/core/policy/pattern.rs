//! A regular expression for names, as a configuration has them.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// A regular expression that fits a whole name.
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
        // The pattern is checked by itself first, so that `a)(b` cannot lean on the parentheses around it.
        let compiled = Regex::new(&text).and_then(|_| Regex::new(&format!(r"\A(?:{text})\z")));
        match compiled {
            Ok(whole) => Ok(Self { text, whole }),
            Err(error) => {
                // The crate draws a picture of several lines and gives the cause last.
                let picture = error.to_string();
                let cause = picture.lines().last().unwrap_or_default().trim_start_matches("error: ");
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
