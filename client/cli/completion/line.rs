//! The line that a shell wants completed: its words as the program would get them, and the options among them.

use std::ffi::{OsStr, OsString};

/// The words of a line, and the one at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<OsString>,
    /// The index of the word at the cursor, which may be the number of words.
    pub(super) index: usize,
    /// The beginning of the word at the cursor, which bash keeps and does not want again.
    pub(super) kept: OsString,
}

/// Joins the parts into which bash splits words (`--endpoint`, `=`, `unix`, `:`, `/path`). Other shells split no word.
/// `index` is that of the part at the cursor.
pub(super) fn joined(parts: Vec<OsString>, index: usize) -> Line {
    let mut line = Line { words: Vec::new(), index: 0, kept: OsString::new() };
    let mut goes_on = false;
    let count = parts.len();
    for (number, part) in parts.into_iter().enumerate() {
        let splits = is_split(&part);
        let last = line.words.last_mut().filter(|_| goes_on || splits);
        if number == index {
            line.kept = last.as_deref().cloned().unwrap_or_default();
        }
        match last {
            Some(word) => word.push(part),
            None => line.words.push(part),
        }
        if number == index {
            line.index = line.words.len() - 1;
        }
        goes_on = splits;
    }
    if index >= count {
        line.index = line.words.len();
    }
    line
}

/// Whether a part is one at which bash splits.
fn is_split(part: &OsStr) -> bool {
    !part.is_empty() && part.as_encoded_bytes().iter().all(|byte| b"=:".contains(byte))
}

/// The value of an option, by its last place on the line.
pub(super) fn option(words: &[OsString], name: &str) -> Option<OsString> {
    let mut found = None;
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let Some(rest) = word.to_str().and_then(|word| word.strip_prefix(name)) else { continue };
        match rest.strip_prefix('=') {
            Some(value) => found = Some(value),
            None if rest.is_empty() => found = words.next().and_then(|value| value.to_str()),
            None => {}
        }
    }
    found.map(|value| unquoted(value).into())
}

/// The text of a word without the quotes of shells; variables stay as they are.
fn unquoted(word: &str) -> String {
    let (mut text, mut quote, mut letters) = (String::new(), None, word.chars());
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => text.extend(letters.next()),
            ('\'' | '"', None) => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn words_that_bash_has_split_are_joined() {
        let parts = words(&["--endpoint", "=", "https", ":", "//127.0.0.1", ":", "7", "transmit", "de"]);
        let line = joined(parts, 8);
        assert_eq!(line.words, words(&["--endpoint=https://127.0.0.1:7", "transmit", "de"]));
        assert_eq!((line.index, line.kept), (2, OsString::new()));
        let line = joined(words(&["transmit", "--disposition", "=", "re"]), 3);
        assert_eq!(line.words, words(&["transmit", "--disposition=re"]));
        assert_eq!((line.index, line.kept), (1, "--disposition=".into()));
        let whole = words(&["--endpoint", "unix:/a", "status", ""]);
        assert_eq!(joined(whole.clone(), 3), Line { words: whole, index: 3, kept: OsString::new() });
        assert_eq!(joined(Vec::new(), 0).index, 0);
    }

    #[test]
    fn an_option_is_found_in_both_forms_and_without_quotes() {
        let found = |line: &[&str]| option(&words(line), "--endpoint").map(|value| value.into_string().unwrap());
        for line in [
            &["--endpoint", "unix:/a b", "transmit"][..],
            &["transmit", "--endpoint='unix:/a b'"],
            &["--endpoint", "unix:/other", "--endpoint", "\"unix:/a b\""],
            &["--endpoint", "unix:/a\\ b", "--", "--endpoint", "unix:/behind"],
        ] {
            assert_eq!(found(line).as_deref(), Some("unix:/a b"), "{line:?}");
        }
        for line in [&["transmit"][..], &["--endpoint"], &["--endpoints=unix:/a"], &["--", "--endpoint=unix:/a"]] {
            assert_eq!(found(line), None, "{line:?}");
        }
    }
}
