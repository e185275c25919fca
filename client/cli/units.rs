//! The APDUs of a unit, from the command line or from standard input, where no process list shows them.

use std::io::{self, Read};

use cardbroker_client::{ApduBytes, MAX_APDU_BYTES, MAX_COMMANDS, MAX_RAW_BYTES, MIN_APDU_BYTES, hex};
use zeroize::Zeroizing;

use super::Failure;

/// The maximum input: more hexadecimal text, separators included, than a request can hold (1 MiB of bytes).
const MAX_INPUT_BYTES: usize = 4 * 1024 * 1024;

/// Reads the APDUs, or commands of any structure if `raw`; a single `-` stands for standard input, one on each line
/// that is not blank.
///
/// # Errors
/// [`Failure::Usage`] with the argument or line and the position in it, without the text.
pub(crate) fn read(arguments: &[String], raw: bool, stdin: impl Read) -> Result<Vec<ApduBytes>, Failure> {
    if arguments != ["-"] {
        return parse("APDU", raw, arguments.iter().map(String::as_str).enumerate());
    }
    let text = read_text(stdin).map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    parse("line", raw, text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()))
}

fn parse<'a>(place: &str, raw: bool, texts: impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<ApduBytes>, Failure> {
    let mut apdus = Vec::new();
    for (index, text) in texts {
        let number = index + 1;
        apdus.push(parse_one(text, raw).map_err(|mistake| Failure::Usage(format!("{place} {number}: {mistake}")))?);
    }
    match apdus.len() {
        0 => Err(Failure::Usage("no APDU given".to_owned())),
        1..=MAX_COMMANDS => Ok(apdus),
        count => Err(Failure::Usage(format!("{count} APDUs; a unit has at most {MAX_COMMANDS}"))),
    }
}

/// Reads one APDU, or a command of any structure if `raw`.
///
/// # Errors
/// The mistake and its position, without the text.
pub(crate) fn parse_one(text: &str, raw: bool) -> Result<ApduBytes, String> {
    let apdu = hex::parse(text).map_err(|error| error.to_string())?;
    match apdu.len() {
        1..=MAX_RAW_BYTES if raw => Ok(apdu),
        MIN_APDU_BYTES..=MAX_APDU_BYTES => Ok(apdu),
        length if raw => Err(format!("{length} bytes; a raw command has 1 to {MAX_RAW_BYTES}")),
        length => Err(format!("{length} bytes; an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}")),
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
    }

    #[test]
    fn too_long_and_too_many_are_refused() {
        assert!(message(&[&"00".repeat(65_545)], "").contains("65545 bytes"));
        assert!(message(&["00A4040C"; 65], "").contains("65 APDUs"));
        assert!(message(&["-"], &" ".repeat(MAX_INPUT_BYTES + 1)).contains("longer"));
    }

    #[test]
    fn a_raw_command_may_be_shorter_than_an_apdu() {
        assert_eq!(parse_one("FF", true).unwrap()[..], [0xFF]);
        assert_eq!(parse_one(" ", true).unwrap_err(), "0 bytes; a raw command has 1 to 65548");
    }

    #[test]
    fn standard_input_has_one_apdu_on_each_line() {
        let apdus = read(&["-".to_owned()], false, "00 A4 04 0C\r\n\n00:20:00:80\n".as_bytes()).unwrap();
        assert_eq!(apdus.iter().map(|apdu| hex::format(apdu)).collect::<Vec<_>>(), ["00A4040C", "00200080"]);
    }
}
