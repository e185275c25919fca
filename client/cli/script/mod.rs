//! The language of `transmit` and `session`: one line is an APDU, a word with its arguments, or a comment.

mod pattern;
mod unit;

use cardbroker_client::{ApduBytes, CardReset, MAX_APDU_BYTES, MAX_RAW_BYTES, MIN_APDU_BYTES, hex};
pub(crate) use pattern::{Pattern, check};
pub(crate) use unit::{Unit, read};
use zeroize::Zeroizing;

use crate::apdu::{application, instruction::may_be_secret};

/// The words, with their arguments and their meaning; the order is that of `help`.
pub(crate) const WORDS: &[(&str, &str, &str)] = &[
    ("select", "NAME|AID", "select an application: piv, openpgp, or its identifier in hexadecimal"),
    ("pin", "[P2 [LENGTH]]", "type a PIN that is not shown, and verify it; padded with FF to the length"),
    ("reset", "", "reset the card (warm)"),
    ("cold", "", "reset the card by cutting its power"),
    ("echo", "TEXT", "print the text"),
    ("help", "", "this list"),
    ("quit", "", "end the session, as Ctrl-D and Ctrl-C do"),
];

/// The most bytes of a PIN with its padding.
const MAX_PIN: u8 = 64;

/// The meaning of one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Command(Sent),
    Reset(CardReset),
    Echo(String),
    Pin(PinRequest),
    Help,
    Quit,
    /// An empty line, or a comment after `#`.
    Nothing,
}

/// A command, and the status words that it must be answered with; none for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) apdu: ApduBytes,
    pub(crate) expected: Option<Pattern>,
}

/// The reference of a PIN, and the length to which it is padded with `FF`, both as far as they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PinRequest {
    pub(crate) reference: Option<u8>,
    pub(crate) length: Option<u8>,
}

/// Parses one line. With `raw` a command may have any structure.
///
/// # Errors
/// The mistake and its position, without the text of the line, which may be part of a PIN.
pub(crate) fn parse(line: &str, raw: bool) -> Result<Line, String> {
    let line = line.split_once('#').map_or(line, |(line, _)| line);
    let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    let alone = |meaning: Line| match rest {
        "" => Ok(meaning),
        _ => Err(format!("\"{word}\" has no argument")),
    };
    match word {
        "" => Ok(Line::Nothing),
        "select" => {
            let (name, expected) = expectation(rest)?;
            Ok(Line::Command(Sent { apdu: select(name)?, expected }))
        }
        "pin" => Ok(Line::Pin(pin(rest)?)),
        "reset" => alone(Line::Reset(CardReset::Warm)),
        "cold" => alone(Line::Reset(CardReset::Cold)),
        "echo" => Ok(Line::Echo(crate::printable(rest))),
        "help" => alone(Line::Help),
        "quit" => alone(Line::Quit),
        word if is_foreign(word) => {
            let words: Vec<_> = WORDS.iter().map(|(word, ..)| *word).collect();
            Err(format!("neither an APDU nor one of the words {}", words.join(", ")))
        }
        _ => {
            let (text, expected) = expectation(line)?;
            Ok(Line::Command(Sent { apdu: parse_apdu(text, raw)?, expected }))
        }
    }
}

/// Whether a line may be kept in the prompt's history: it is well formed, and presents no secret.
pub(crate) fn is_for_history(line: &str, raw: bool) -> bool {
    match parse(line, raw) {
        Ok(Line::Command(sent)) => !may_be_secret(&sent.apdu),
        Ok(Line::Nothing) | Err(_) => false,
        Ok(_) => true,
    }
}

/// Reads one APDU, or a command of any structure if `raw`; spaces and colons may stand between the digits, and `0x`
/// before them.
///
/// # Errors
/// The mistake and its position, without the text.
fn parse_apdu(text: &str, raw: bool) -> Result<ApduBytes, String> {
    let apdu = hex::parse(&without_prefixes(text)).map_err(|error| error.to_string())?;
    match apdu.len() {
        1..=MAX_RAW_BYTES if raw => Ok(apdu),
        MIN_APDU_BYTES..=MAX_APDU_BYTES => Ok(apdu),
        length if raw => Err(format!("{length} bytes; a raw command has 1 to {MAX_RAW_BYTES}")),
        length => Err(format!("{length} bytes; an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}")),
    }
}

/// Puts two spaces in the place of each `0x` before digits, so that positions stay.
fn without_prefixes(text: &str) -> Zeroizing<String> {
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut is_start = true;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some('x' | 'X') if is_start && letter == '0' => {
                letters.next();
                plain.push_str("  ");
            }
            _ => plain.push(letter),
        }
        is_start = letter.is_whitespace() || letter == ':';
    }
    plain
}

/// Splits off `=9000` at the end.
fn expectation(text: &str) -> Result<(&str, Option<Pattern>), String> {
    match text.split_once('=') {
        Some((text, pattern)) => Ok((text, Some(pattern.trim().parse()?))),
        None => Ok((text, None)),
    }
}

/// SELECT by the name of an application or by an identifier.
fn select(name: &str) -> Result<ApduBytes, String> {
    let name = name.trim();
    if let Some(application) = application::named(name) {
        return Ok(application.select().into());
    }
    let names = || application::names().collect::<Vec<_>>().join(", ");
    let aid = hex::parse(&without_prefixes(name)).map_err(|_| format!("select: not one of {}, and no AID", names()))?;
    match aid.len() {
        5..=16 => Ok(application::select(&aid).into()),
        length => Err(format!("select: {length} bytes; an application identifier has 5 to 16")),
    }
}

fn pin(arguments: &str) -> Result<PinRequest, String> {
    let mut words = arguments.split_whitespace();
    let reference = words.next().map(|word| u8::from_str_radix(word.trim_start_matches("0x"), 16));
    let reference = reference.transpose().map_err(|_| "pin: P2 is one byte in hexadecimal, such as 80")?;
    let length = words.next().map(str::parse::<u8>).transpose();
    let length = length.ok().filter(|length| length.is_none_or(|length| (1..=MAX_PIN).contains(&length)));
    let length = length.ok_or_else(|| format!("pin: the length is 1 to {MAX_PIN}"))?;
    match words.next() {
        // The text could be the PIN itself.
        Some(_) => Err("pin: the PIN is asked for, do not write it on the line".to_owned()),
        None => Ok(PinRequest { reference, length }),
    }
}

/// Whether a text is meant as a word: letters alone, not all of them digits.
fn is_foreign(word: &str) -> bool {
    word.chars().all(char::is_alphabetic) && !word.chars().all(|letter| letter.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apdu(line: &str) -> (Vec<u8>, Option<Pattern>) {
        match parse(line, false) {
            Ok(Line::Command(sent)) => (sent.apdu.to_vec(), sent.expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_an_apdu_a_word_or_nothing() {
        let select = vec![0x00, 0xA4, 0x04, 0x0C];
        for line in [" 00 A4:04 0c\n", "0x00 0xA4 0x04 0x0C", "0x00A4040C # select", "00A4040C#"] {
            assert_eq!(apdu(line), (select.clone(), None), "{line}");
        }
        assert_eq!(apdu("00A4040C =9000").1, "9000".parse().ok());
        assert_eq!(apdu("00A4040C=61FF/FF00 # any length").1, "61FF/FF00".parse().ok());
        assert_eq!(parse("reset\r\n", false), Ok(Line::Reset(CardReset::Warm)));
        assert_eq!(parse("cold", false), Ok(Line::Reset(CardReset::Cold)));
        assert_eq!(parse("echo  reads\x1b it # yes", false), Ok(Line::Echo("reads\u{FFFD} it".into())));
        for nothing in [" \n", "# 00A4", ""] {
            assert_eq!(parse(nothing, false), Ok(Line::Nothing));
        }
    }

    #[test]
    fn an_application_is_selected_by_name_or_identifier() {
        let piv = hex::parse("00A4040009A0000003080000100000").unwrap().to_vec();
        assert_eq!(apdu("select piv").0, piv);
        assert_eq!(apdu("select A00000030800001000"), (piv.clone(), None));
        assert_eq!(apdu("select PIV =9000"), (piv, "9000".parse().ok()));
        let mistake = parse("select mars", false).unwrap_err();
        assert!(mistake.starts_with("select: not one of piv, openpgp,"), "{mistake}");
        let mistake = parse("select A000", false).unwrap_err();
        assert_eq!(mistake, "select: 2 bytes; an application identifier has 5 to 16");
    }

    #[test]
    fn a_pin_is_asked_for_and_never_on_the_line() {
        let request = |reference, length| Ok(Line::Pin(PinRequest { reference, length }));
        assert_eq!(parse("pin", false), request(None, None));
        assert_eq!(parse("pin 81", false), request(Some(0x81), None));
        assert_eq!(parse("pin 0x80 8", false), request(Some(0x80), Some(8)));
        for mistake in ["pin 123456", "pin 80 0", "pin 80 65", "pin 80 8 123456", "pin zz"] {
            let told = parse(mistake, false).unwrap_err();
            assert!(told.starts_with("pin: ") && !told.contains("123456"), "{told}");
        }
    }

    #[test]
    fn a_mistake_has_a_position_and_not_the_text() {
        for (line, expected) in [
            ("00 A4 04 ~C", "not a hexadecimal digit at position 10"),
            ("0x00 0xA4 0x~C", "not a hexadecimal digit at position 13"),
            ("00A4 00x0", "not a hexadecimal digit at position 8"),
            ("00A4", "2 bytes; an APDU has 4 to 65544"),
            ("atr", "neither an APDU nor one of the words select, pin, reset, cold, echo, help, quit"),
            ("reset now", "\"reset\" has no argument"),
            ("00A4040C =90", "a status word has four hexadecimal digits"),
        ] {
            assert_eq!(parse(line, false).unwrap_err(), expected, "{line}");
        }
        assert_eq!(parse_apdu("FF", true).unwrap()[..], [0xFF]);
        assert_eq!(parse_apdu(" ", true).unwrap_err(), "0 bytes; a raw command has 1 to 65548");
    }

    #[test]
    fn only_harmless_lines_are_kept() {
        for kept in ["00A4040C", "select piv", "pin 80", "reset", "00CB3FFF055C035FC10200"] {
            assert!(is_for_history(kept, false), "{kept}");
        }
        for secret in ["0020008008313233343536FFFF", "002000800831323334", "00 20 00 8g", "123456", "", "8010000004"] {
            assert!(!is_for_history(secret, false), "{secret}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_and_no_mistake_repeats_it(line in "[ -~]{0,40}") {
            if let Err(mistake) = parse(&line, false) {
                let is_long = line.trim().len() > 12;
                prop_assert!(!is_long || !mistake.contains(line.trim()), "{}", mistake);
            }
            let _ = is_for_history(&line, true);
        }

        #[test]
        fn any_text_is_parsed(line in any::<String>()) {
            let _ = parse(&line, false);
        }
    }
}
