//! A regular expression, or a name as it is, for names in the configuration.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// A regular expression that must match a whole name. A name that is the text itself matches, too, so that a reader's
/// name with brackets and parentheses can be pasted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    /// `None` if the text is a reader's name that is no regular expression.
    whole: Option<Regex>,
}

impl Pattern {
    /// Whether the expression matches all of `name`, or is the name.
    pub fn matches(&self, name: &str) -> bool {
        self.text == name || self.whole.as_ref().is_some_and(|whole| whole.is_match(name))
    }

    /// The text from the configuration.
    pub fn as_str(&self) -> &str {
        &self.text
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
            Ok(whole) => Ok(Self { text, whole: Some(whole) }),
            Err(_) if is_reader_name(&text) => Ok(Self { text, whole: None }),
            Err(error) => {
                // The crate prints several lines, with the cause in the last one.
                let lines = error.to_string();
                let cause = lines.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let escaped = regex::escape(&text);
                Err(format!("not a regular expression: {cause} (for a reader of exactly this name: '{escaped}')"))
            }
        }
    }
}

/// Whether the text ends as the names of PC/SC readers do: with the numbers of reader and slot, such as ` 00 01`, or
/// with one number. An expression with a mistake is an error, because a rule that denies nothing by mistake is worse.
fn is_reader_name(text: &str) -> bool {
    let last = text.rsplit(' ').next().unwrap_or_default();
    last.len() < text.len() && (1..=2).contains(&last.len()) && last.bytes().all(|digit| digit.is_ascii_hexdigit())
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<Pattern, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn a_pasted_name_matches_itself_and_an_expression_whole_names() {
        for name in [
            "SCM Microsystems Inc. SCR 3310 [CCID Interface] (53311209206317) 00 00",
            "Yubico YubiKey OTP+FIDO+CCID 00 00",
            "Gemalto (PC) [Twin+] 01 00",
            r"Intel\xAE Card Reader 00 00",
            "Vendor Dual [Dual-Interface] 00 01",
            "*** (Reader 0",
        ] {
            let pattern = pattern(name).unwrap();
            assert!(pattern.matches(name) && !pattern.matches(&format!("{name}0")), "{name}");
        }
        let expression = pattern("Yubico .* 00 0[01]").unwrap();
        assert_eq!(
            ["Yubico X 00 01", "A Yubico X 00 01", "Yubico X 00 011"].map(|name| expression.matches(name)),
            [true, false, false]
        );
    }

    #[test]
    fn a_mistake_in_an_expression_comes_with_the_escaped_text() {
        for text in ["(Yubico", "a)(b", "Yubico .*(", "[z-a]"] {
            let error = pattern(text).unwrap_err();
            assert!(error.contains("not a regular expression") && error.contains(&regex::escape(text)), "{error}");
        }
    }
}
