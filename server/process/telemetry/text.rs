//! The text form of messages and fields. A program can read it again: a value, or a message, that could be misread is
//! in quotes.
//!
//! ```text
//! TIME LEVEL [SPAN:]TARGET: message key=value key="a value"
//! ```
//!
//! A message ends before the first word that begins with a key and `=`.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{MakeVisitor, VisitFmt, VisitOutput},
    fmt::format::Writer,
};

/// The formatter of messages and fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields;

/// Writes the message and the fields of one record or span.
pub(super) struct FieldWriter<'a> {
    writer: Writer<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl<'a> MakeVisitor<Writer<'a>> for Fields {
    type Visitor = FieldWriter<'a>;

    fn make_visitor(&self, writer: Writer<'a>) -> FieldWriter<'a> {
        FieldWriter { writer, is_first: true, result: Ok(()) }
    }
}

impl Visit for FieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Where a library that uses the crate `log` has written the record.
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let separator = if std::mem::take(&mut self.is_first) { "" } else { " " };
        self.result = self.writer.write_str(separator);
        self.result = self.result.and_then(|()| write_field(&mut self.writer, field.name(), &format!("{value:?}")));
    }
}

impl VisitOutput<fmt::Result> for FieldWriter<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for FieldWriter<'_> {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }
}

/// Writes a message, or a field behind its key.
pub(super) fn write_field(writer: &mut impl Write, name: &str, value: &str) -> fmt::Result {
    match name.trim_start_matches("r#") {
        "message" if is_clear_message(value) => writer.write_str(value),
        "message" => write!(writer, "{value:?}"),
        key if is_clear_value(value) => write!(writer, "{key}={value}"),
        key => write!(writer, "{key}={value:?}"),
    }
}

/// Whether a reader of the line finds the end of the message.
fn is_clear_message(message: &str) -> bool {
    let begins_field = |word: &str| word.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    let first = message.split(' ').next().unwrap_or_default();
    // A quotation mark without its partner would hide the fields, and so would one behind a backslash.
    let quotes = message.matches('"').count();
    !message.starts_with('"')
        && (quotes == 0 || quotes.is_multiple_of(2) && !message.contains('\\'))
        && !first.ends_with(':')
        && !message.contains(char::is_control)
        && !message.split(' ').any(begins_field)
}

/// Whether a reader of the line finds the end of the value: it is one word, or in quotes already.
fn is_clear_value(value: &str) -> bool {
    let is_word = |letter: char| !letter.is_whitespace() && !letter.is_control() && !['"', '='].contains(&letter);
    is_quoted(value) || !value.is_empty() && value.chars().all(is_word)
}

/// Whether the text is in quotes: a text in the debug form.
fn is_quoted(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next().is_none() => return false,
            '"' => return false,
            letter if letter.is_control() => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, sync::Mutex};

    use cardbroker_core::properties::holds;
    use proptest::prop_assert_eq;

    use super::*;

    fn written(name: &str, value: &str) -> String {
        let mut text = String::new();
        write_field(&mut text, name, value).unwrap();
        text
    }

    #[test]
    fn a_value_is_one_word_or_in_quotes() {
        for (value, expected) in [
            ("ok", "ok"),
            ("127.0.0.1:7", "127.0.0.1:7"),
            ("user 0", "\"user 0\""),
            ("\"desk\"", "\"desk\""),
            ("\"a \\\"b\\\" c\"", "\"a \\\"b\\\" c\""),
            ("", "\"\""),
            ("a=b", "\"a=b\""),
            ("\"a\" b", "\"\\\"a\\\" b\""),
            ("\"a\\\"", "\"\\\"a\\\\\\\"\""),
            ("a\nb", "\"a\\nb\""),
            ("\u{1b}[0m", "\"\\u{1b}[0m\""),
            ("[\"a\", \"b\"]", "\"[\\\"a\\\", \\\"b\\\"]\""),
        ] {
            assert_eq!(written("key", value), format!("key={expected}"));
        }
    }

    #[test]
    fn a_message_that_could_be_misread_is_in_quotes() {
        for clear in ["reader state changed", "listen.tcp_plain is on: a program", "own = \"on_demand\""] {
            assert_eq!(written("message", clear), clear);
        }
        for unclear in ["a key=value", "listen: wrong", "\"a\" b", "a\nb", "a\u{1b}[0m", "a \"b", "a \"b\\\"\" c"] {
            assert_eq!(written("message", unclear), format!("{unclear:?}"));
        }
    }

    /// Reads a line as documented: the message, and the fields.
    fn read(line: &str) -> (String, Vec<(String, String)>) {
        let (mut words, mut rest) = (Vec::new(), line);
        while !rest.is_empty() {
            let mut quoted = false;
            let mut escaped = false;
            let end = rest.find(|letter: char| {
                match letter {
                    _ if escaped => escaped = false,
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    ' ' if !quoted => return true,
                    _ => {}
                }
                false
            });
            words.push(&rest[..end.unwrap_or(rest.len())]);
            rest = end.map_or("", |end| &rest[end + 1..]);
        }
        let is_field = |word: &&str| word.split_once('=').is_some_and(|(key, _)| !key.is_empty() && !key.contains('"'));
        let fields = words.iter().position(is_field).unwrap_or(words.len());
        let pairs = words[fields..].iter().map(|word| word.split_once('=').unwrap());
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        (words[..fields].join(" "), pairs)
    }

    #[test]
    fn every_line_can_be_read_again() {
        let text = "[a-z =\":\\\\\n\u{1b}]{0,12}";
        holds(500, (text, text, text), |(message, first, second)| {
            let values = [first.clone(), format!("{second:?}")];
            let mut line = written("message", &message);
            for (key, value) in ["first", "second"].iter().zip(&values) {
                line += &format!(" {}", written(key, value));
            }
            let quoted = |text: &String, clear: bool| if clear { text.clone() } else { format!("{text:?}") };
            let (told, fields) = read(&line);
            prop_assert_eq!(told, quoted(&message, is_clear_message(&message)));
            let expected: Vec<_> = ["first", "second"]
                .iter()
                .zip(&values)
                .map(|(key, value)| ((*key).to_owned(), quoted(value, is_clear_value(value))))
                .collect();
            prop_assert_eq!(fields, expected);
            Ok(())
        });
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn records_and_their_spans_have_this_form() {
        let lines = Lines::default();
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
        tracing::subscriber::with_default(builder.fmt_fields(Fields).compact().finish(), || {
            let _span = tracing::info_span!("connection", peer = %"process 7 of user 0").entered();
            tracing::info!(target: "t", user = %"user 0", reader = "desk", count = 3, "done");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let expected =
            " INFO connection: t: done user=\"user 0\" reader=\"desk\" count=3 peer=\"process 7 of user 0\"\n";
        assert_eq!(text, expected);
    }
}
