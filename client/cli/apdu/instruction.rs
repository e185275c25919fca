//! Commands by name: instructions of the standards, and what the header tells about them.

use cardbroker_client::hex;

use super::application;

/// Whether a command may present a PIN, a key or data that a key protects: every instruction but the known public ones.
/// Bytes that are not an APDU count as such a command.
pub(crate) fn may_be_secret(command: &[u8]) -> bool {
    let [class, instruction, ..] = command else { return true };
    let is_public =
        matches!(instruction, 0x22 | 0x44 | 0x46 | 0x47 | 0x70 | 0x84 | 0xA4 | 0xB0..=0xB3 | 0xC0 | 0xCA | 0xCB);
    hides(*class) || !is_public
}

/// Whether a class may hide the meaning of the instruction: secure messaging, a link of a chain, or a command to the
/// reader, which may hold keys. Some channels count, too.
fn hides(class: u8) -> bool {
    class & 0x1C != 0 || class & 0x60 == 0x60
}

/// The name of an instruction in a class; `None` if no standard here gives it one.
pub(crate) fn name(class: u8, instruction: u8) -> Option<&'static str> {
    match class {
        0xFF => of_reader(instruction),
        0x00..=0x1F | 0x40..=0x7F => interindustry(instruction),
        0x80..=0xFE => proprietary(instruction),
        _ => None,
    }
}

/// PC/SC part 3 §3.2.2: commands to the reader itself.
fn of_reader(instruction: u8) -> Option<&'static str> {
    Some(match instruction {
        0x20 => "VERIFY (reader)",
        0x82 => "LOAD KEYS (reader)",
        0x86 | 0x88 => "GENERAL AUTHENTICATE (reader)",
        0xB0 => "READ BINARY (reader)",
        0xC2 => "MANAGE SESSION (reader)",
        0xCA => "GET DATA (reader)",
        0xD6 => "UPDATE BINARY (reader)",
        _ => return None,
    })
}

/// ISO/IEC 7816-4, -8 and -9.
fn interindustry(instruction: u8) -> Option<&'static str> {
    Some(match instruction {
        0x04 => "DEACTIVATE FILE",
        0x0C => "ERASE RECORD",
        0x0E | 0x0F => "ERASE BINARY",
        0x10 => "PERFORM SCQL OPERATION",
        0x12 => "PERFORM TRANSACTION OPERATION",
        0x14 => "PERFORM USER OPERATION",
        0x20 | 0x21 => "VERIFY",
        0x22 => "MANAGE SECURITY ENVIRONMENT",
        0x24 | 0x25 => "CHANGE REFERENCE DATA",
        0x26 => "DISABLE VERIFICATION REQUIREMENT",
        0x28 => "ENABLE VERIFICATION REQUIREMENT",
        0x2A | 0x2B => "PERFORM SECURITY OPERATION",
        0x2C | 0x2D => "RESET RETRY COUNTER",
        0x44 => "ACTIVATE FILE",
        0x46 | 0x47 => "GENERATE ASYMMETRIC KEY PAIR",
        0x70 => "MANAGE CHANNEL",
        0x82 => "EXTERNAL AUTHENTICATE",
        0x84 => "GET CHALLENGE",
        0x86 | 0x87 => "GENERAL AUTHENTICATE",
        0x88 => "INTERNAL AUTHENTICATE",
        0xA0 | 0xA1 => "SEARCH BINARY",
        0xA2 => "SEARCH RECORD",
        0xA4 => "SELECT",
        0xB0 | 0xB1 => "READ BINARY",
        0xB2 | 0xB3 => "READ RECORD",
        0xC0 => "GET RESPONSE",
        0xC2 | 0xC3 => "ENVELOPE",
        0xCA | 0xCB => "GET DATA",
        0xD0 | 0xD1 => "WRITE BINARY",
        0xD2 => "WRITE RECORD",
        0xD6 | 0xD7 => "UPDATE BINARY",
        0xDA | 0xDB => "PUT DATA",
        0xDC | 0xDD => "UPDATE RECORD",
        0xE0 => "CREATE FILE",
        0xE2 => "APPEND RECORD",
        0xE4 => "DELETE FILE",
        0xE6 => "TERMINATE DF",
        0xE8 => "TERMINATE EF",
        0xFE => "TERMINATE CARD USAGE",
        _ => return None,
    })
}

/// GlobalPlatform Card Specification 2.3.1 §11, and EMV 4.3 Book 3 §6.5.
fn proprietary(instruction: u8) -> Option<&'static str> {
    Some(match instruction {
        0x50 => "INITIALIZE UPDATE",
        0x82 => "EXTERNAL AUTHENTICATE",
        0xA8 => "GET PROCESSING OPTIONS",
        0xAE => "GENERATE APPLICATION CRYPTOGRAM",
        0xCA | 0xCB => "GET DATA",
        0xD8 => "PUT KEY",
        0xE2 => "STORE DATA",
        0xE4 => "DELETE",
        0xE6 => "INSTALL",
        0xE8 => "LOAD",
        0xF0 => "SET STATUS",
        0xF2 => "GET STATUS",
        _ => return None,
    })
}

/// A command in words: its name, and what it names as far as that is no secret: `SELECT PIV`, `VERIFY reference 80`.
/// `None` for an instruction without a name.
pub(crate) fn describe(command: &[u8]) -> Option<String> {
    let [class, instruction, p1, p2, ..] = *command else { return None };
    let name = name(class, instruction)?;
    let data = data(command);
    let detail = match (instruction, data) {
        (0xA4, Some(aid)) if p1 == 0x04 => Some(match application::of(aid) {
            Some(application) => application.words.to_owned(),
            None => hex::format(aid),
        }),
        (0xA4, Some(file)) if file.len() <= 16 => Some(format!("file {}", hex::format(file))),
        (0xA4, None) if p1 == 0x00 => Some("the master file".to_owned()),
        (0xB0, _) if p1 & 0x80 == 0 => Some(format!("at {}", u16::from_be_bytes([p1, p2]))),
        (0xB0, _) => Some(format!("file {} at {p2}", p1 & 0x1F)),
        (0xB2, _) => {
            let record = if p2 & 0x04 == 0 { format!("with identifier {p1}") } else { format!("{p1}") };
            Some(if p2 >> 3 == 0 { record } else { format!("{record} of file {}", p2 >> 3) })
        }
        (0xCB, Some([0x5C, _, tags @ ..])) => Some(hex::format(tags)),
        (0xCA, _) => Some(format!("{p1:02X}{p2:02X}")),
        (0x20 | 0x24 | 0x2C, _) => Some(format!("reference {p2:02X}")),
        _ => None,
    };
    Some(match detail.filter(|_| !hides(class)) {
        Some(detail) => format!("{name} {detail}"),
        None => name.to_owned(),
    })
}

/// The data field of a command (ISO/IEC 7816-4:2013 §5.2); `None` without one, or if the lengths do not fit.
fn data(command: &[u8]) -> Option<&[u8]> {
    match command.get(4..)? {
        [0, high, low, rest @ ..] if !rest.is_empty() => rest.get(..usize::from(u16::from_be_bytes([*high, *low]))),
        [length @ 1..=u8::MAX, rest @ ..] if !rest.is_empty() => rest.get(..usize::from(*length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;
    use proptest::prelude::*;

    use super::*;

    fn told(command: &str) -> String {
        describe(&hex::parse(command).unwrap()).unwrap_or_default()
    }

    #[test]
    fn a_command_is_described_by_its_header() {
        for (command, expected) in [
            ("00A4040009A0000003080000100000", "SELECT PIV"),
            ("00A4040006F0434152440100", "SELECT F04341524401"),
            ("00A4000C023F00", "SELECT file 3F00"),
            ("00A40000", "SELECT the master file"),
            ("00A4040C", "SELECT"),
            ("00B0010210", "READ BINARY at 258"),
            ("00B0820400", "READ BINARY file 2 at 4"),
            ("00B2010410", "READ RECORD 1"),
            ("00CB3FFF055C035FC10200", "GET DATA 5FC102"),
            ("00CA006E00", "GET DATA 006E"),
            ("0020008008313233343536FFFF", "VERIFY reference 80"),
            ("0C20008008313233343536FFFF", "VERIFY"),
            ("FFCA000000", "GET DATA (reader)"),
            ("80A8000002830000", "GET PROCESSING OPTIONS"),
            ("80100000", ""),
            ("00A4", ""),
            ("", ""),
        ] {
            assert_eq!(told(command), expected, "{command}");
        }
    }

    #[test]
    fn only_public_instructions_are_no_secret() {
        for (command, expected) in [
            ("0020008001", true),
            ("002C0080", true),
            ("00DA0101", true),
            ("0087039B", true),
            ("0CB00000", true),
            ("FF820000", true),
            ("8010", true),
            ("00", true),
            ("00A40400", false),
            ("00CB3FFF", false),
            ("01B00000", false),
        ] {
            assert_eq!(may_be_secret(&hex::parse(command).unwrap()), expected, "{command}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_description_without_a_secret(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let told = describe(&bytes).unwrap_or_default();
            prop_assert!(!told.chars().any(char::is_control));
            if may_be_secret(&bytes) && let Some(data) = data(&bytes).filter(|data| data.len() >= 2) {
                prop_assert!(!told.contains(&hex::format(data)), "{}", told);
            }
        }
    }
}
