//! One command and its answer for people: names, meaning, tree or dump.

use cardbroker_client::status_word;

use super::{
    dump::{dump, pairs},
    instruction::{describe, may_be_secret},
    tlv,
};
use crate::{
    layout::{Colour, Paint, WIDTH, fill},
    words::count,
};

/// The most bytes of a command that are shown.
const MAX_SHOWN: usize = 24;

/// The column of a status word's meaning.
const INDENT: usize = 8;

/// A command in one line, with a new line: its header, its data unless they may be secret, and its name.
pub(crate) fn command(bytes: &[u8], paint: Paint) -> String {
    let name = describe(bytes).unwrap_or_default();
    let (shown, rest) = if may_be_secret(bytes) {
        // Neither the data nor their length.
        (bytes.get(..4).unwrap_or_default(), if bytes.len() > 5 { " […]" } else { "" })
    } else {
        (&bytes[..bytes.len().min(MAX_SHOWN)], if bytes.len() > MAX_SHOWN { " …" } else { "" })
    };
    let head = format!("> {}{rest}", pairs(shown));
    let gap = if head.len() + 2 + name.len() <= WIDTH { "  ".to_owned() } else { "\n  ".to_owned() };
    let name = if name.is_empty() { String::new() } else { gap + &paint.paint(Some(Colour::Bold), &name) };
    format!("{}{name}\n", head.trim_end())
}

/// The answer in lines, each with a new line: the status word with its meaning, then the data as a tree if they are
/// BER-TLV objects, else as a dump.
pub(crate) fn answer(data: &[u8], status_word: u16, paint: Paint) -> String {
    let word = format!("{status_word:04X}");
    let length = if data.is_empty() { String::new() } else { format!(", {}", bytes(data)) };
    let line = match status_word::meaning(status_word) {
        Some(meaning) => fill(&format!("< {word}  "), INDENT, &format!("{meaning}{length}")),
        None => format!("< {word}{length}\n"),
    };
    line.replacen(&word, &paint.paint(Some(colour(status_word)), &word), 1) + &content(data)
}

/// An answer of the reader itself, which has no status word.
pub(crate) fn bare_answer(data: &[u8]) -> String {
    format!("< {}\n{}", bytes(data), dump(data))
}

fn bytes(data: &[u8]) -> String {
    count(i64::try_from(data.len()).unwrap_or(i64::MAX), "byte")
}

/// The data of an answer as a tree, or as a dump if they are no BER-TLV objects; lines, each with a new line.
pub(crate) fn content(data: &[u8]) -> String {
    tlv::probable(data).map_or_else(|| dump(data), |objects| tlv::tree(&objects))
}

fn colour(status_word: u16) -> Colour {
    match status_word >> 8 {
        0x90 | 0x91 | 0x61 | 0x9F => Colour::Green,
        0x62 | 0x63 => Colour::Yellow,
        _ => Colour::Red,
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;
    use proptest::prelude::*;

    use super::*;

    fn sent(text: &str) -> String {
        command(&hex::parse(text).unwrap(), Paint::NEVER)
    }

    #[test]
    fn a_command_has_its_name_and_no_pin() {
        assert_eq!(sent("00B0000010"), "> 00 B0 00 00 10  READ BINARY at 0\n");
        assert_eq!(sent("0020008008313233343536FFFF"), "> 00 20 00 80 […]  VERIFY reference 80\n");
        assert_eq!(sent("00200080"), "> 00 20 00 80  VERIFY reference 80\n");
        assert_eq!(sent("8010000004"), "> 80 10 00 00\n");
        assert_eq!(sent("31"), ">\n");
        let piv = "> 00 A4 04 00 09 A0 00 00 03 08 00 00 10 00 00  SELECT PIV\n";
        assert_eq!(sent("00A4040009A0000003080000100000"), piv);
    }

    #[test]
    fn an_answer_is_a_status_and_a_tree_or_a_dump() {
        assert_eq!(answer(&[], 0x6A82, Paint::NEVER), "< 6A82  file or application not found\n");
        assert_eq!(answer(&[], 0x6A82, Paint::ALWAYS), "< \x1b[31m6A82\x1b[0m  file or application not found\n");
        let text = answer(b"Simulated record", 0x9000, Paint::NEVER);
        assert!(text.starts_with("< 9000  done, 16 bytes\n  0000  53 69"), "{text}");
        let tree = answer(&[0x6F, 0x02, 0x84, 0x00], 0x9000, Paint::NEVER);
        assert_eq!(tree, "< 9000  done, 4 bytes\n  6F file control information\n    84 DF name: empty\n");
        assert_eq!(bare_answer(&[0x41]).lines().count(), 2);
    }

    proptest! {
        #[test]
        fn any_exchange_fits_80_columns(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), word in any::<u16>()
        ) {
            let told = command(&bytes, Paint::NEVER) + &answer(&bytes, word, Paint::NEVER);
            prop_assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{}", told);
            prop_assert!(told.chars().all(|letter| letter == '\n' || !letter.is_control()));
        }
    }
}
