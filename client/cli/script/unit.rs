//! The commands of a unit, from the command line or from standard input, where no process list shows them.

use std::io::{self, Read};

use cardbroker_client::{CardReset, MAX_COMMANDS};
use zeroize::Zeroizing;

use super::{Line, Sent, parse};
use crate::Failure;

/// The maximum input: more hexadecimal text, separators included, than a request can hold (1 MiB of bytes).
const MAX_INPUT_BYTES: usize = 4 * 1024 * 1024;

/// The lines of a unit.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// The reset before the first command, if the first word is one.
    pub(crate) reset: Option<CardReset>,
    /// The commands in their order, at least one.
    pub(crate) commands: Vec<Sent>,
    /// Texts to print, each with the index of the command that it precedes.
    pub(crate) echoes: Vec<(usize, String)>,
}

/// Reads the lines of a unit, one from each argument; a single `-` stands for standard input. With `raw` a command may
/// have any structure.
///
/// # Errors
/// [`Failure::Usage`] with the argument or line and the position in it, without the text.
pub(crate) fn read(arguments: &[String], raw: bool, stdin: impl Read) -> Result<Unit, Failure> {
    if arguments != ["-"] {
        return parse_all("APDU", raw, arguments.iter().map(String::as_str).enumerate());
    }
    let text = read_text(stdin).map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    parse_all("line", raw, text.lines().enumerate())
}

fn parse_all<'a>(place: &str, raw: bool, texts: impl Iterator<Item = (usize, &'a str)>) -> Result<Unit, Failure> {
    let mut unit = Unit::default();
    for (index, text) in texts {
        let mistake = |mistake: String| Failure::Usage(format!("{place} {}: {mistake}", index + 1));
        // An empty argument is a variable without a value.
        let is_missing = place == "APDU" && text.is_empty();
        match parse(text, raw).map_err(mistake)? {
            Line::Nothing if is_missing => return Err(mistake("empty".to_owned())),
            Line::Nothing => {}
            Line::Quit => break,
            Line::Command(sent) => unit.commands.push(sent),
            Line::Echo(text) => unit.echoes.push((unit.commands.len(), text)),
            Line::Reset(reset) if unit.commands.is_empty() => unit.reset = Some(reset),
            Line::Reset(_) => {
                let told = "a unit resets the card before its first command only: use cardbroker session";
                return Err(mistake(told.to_owned()));
            }
            Line::Pin(_) | Line::Help => return Err(mistake("this word is for the prompt of a session".to_owned())),
        }
    }
    match unit.commands.len() {
        0 => Err(Failure::Usage("no APDU given".to_owned())),
        1..=MAX_COMMANDS => Ok(unit),
        count => Err(Failure::Usage(format!("{count} APDUs; a unit has at most {MAX_COMMANDS}"))),
    }
}

fn read_text(stdin: impl Read) -> io::Result<Zeroizing<String>> {
    // Full capacity from the start: growing would leave copies behind that are not wiped.
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT_BYTES + 1));
    let count = stdin.take(MAX_INPUT_BYTES as u64 + 1).read_to_string(&mut text)?;
    if count > MAX_INPUT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than the maximum request"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;

    use super::*;

    fn message(arguments: &[&str], stdin: &str) -> String {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        match read(&arguments, false, stdin.as_bytes()) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mistake_is_reported_by_position_without_the_text() {
        assert_eq!(message(&["00A4040C", "00200080 xy"], ""), "APDU 2: not a hexadecimal digit at position 10");
        assert_eq!(
            message(&["00A"], ""),
            "APDU 1: an odd number of hexadecimal digits (3): the last byte is incomplete"
        );
        assert_eq!(message(&["00A4"], ""), "APDU 1: 2 bytes; an APDU has 4 to 65544");
        assert_eq!(
            message(&["-"], "00A4040C\n\n0"),
            "line 3: an odd number of hexadecimal digits (1): the last byte is incomplete"
        );
        assert_eq!(message(&["-"], "\n"), "no APDU given");
        assert_eq!(message(&["00A4040C", ""], ""), "APDU 2: empty");
        assert_eq!(message(&["-"], "00A4040C\npin 80"), "line 2: this word is for the prompt of a session");
        let late = "line 2: a unit resets the card before its first command only: use cardbroker session";
        assert_eq!(message(&["-"], "00A4040C\nreset"), late);
    }

    #[test]
    fn too_long_and_too_many_are_refused() {
        assert!(message(&[&"00".repeat(65_545)], "").contains("65545 bytes"));
        assert!(message(&["00A4040C"; 65], "").contains("65 APDUs"));
        assert!(message(&["-"], &" ".repeat(MAX_INPUT_BYTES + 1)).contains("longer"));
    }

    #[test]
    fn a_script_has_one_command_on_each_line() {
        let script = "# of PIV\r\ncold\necho first\n00 A4 04 0C # select\r\n\n0x00:0x20:00:80 =63C0/FFF0\necho last\n";
        let unit = read(&["-".to_owned()], false, script.as_bytes()).unwrap();
        let apdus: Vec<_> = unit.commands.iter().map(|sent| hex::format(&sent.apdu)).collect();
        assert_eq!(apdus, ["00A4040C", "00200080"]);
        assert_eq!((unit.commands[0].expected, unit.commands[1].expected), (None, "63C0/FFF0".parse().ok()));
        assert_eq!(unit.echoes, [(0, "first".to_owned()), (2, "last".to_owned())]);
        assert_eq!(unit.reset, Some(CardReset::Cold));
    }
}
