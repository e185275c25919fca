//! An explained card for people.

use super::{Known, atr::Part};
use crate::{
    apdu::dump::pairs,
    json, layout,
    layout::{Colour, Paint, fill},
    printable,
};

/// The column of a part's bytes, and that of its meaning.
const BYTES: usize = 7;
const MEANING: usize = 20;

pub(super) fn text(known: &Known, paint: Paint) -> String {
    let Known { reader, atr, kind, descriptions } = known;
    let mut told = paint.paint(Some(Colour::Bold), &printable(&reader.name)) + "\n";
    told += &layout::row("Name", &printable(&reader.display_name));
    let protocol = json::protocol(reader.active_protocol).map(|name| format!(", {}", protocol_words(&name)));
    told += &layout::row("State", &(json::state(reader) + &protocol.unwrap_or_default()));
    told += &layout::row("Card", kind.as_deref().unwrap_or("unknown (not recognizable from the ATR)"));
    for (index, line) in descriptions.iter().enumerate() {
        told += &layout::row(if index == 0 { "Listed as" } else { "" }, line);
    }
    told += &layout::row("ATR", &pairs(&reader.atr));
    told.push('\n');
    told.extend(atr.parts.iter().map(|part| part_lines(part, paint)));
    told
}

/// The name of a protocol for people: `T1` as `T=1`.
pub(crate) fn protocol_words(name: &str) -> String {
    match name.strip_prefix('T') {
        Some(number) => format!("T={number}"),
        None => name.to_lowercase(),
    }
}

/// A part: its name, its bytes, and its meaning beside them, or below them if they are many.
fn part_lines(part: &Part, paint: Paint) -> String {
    let head = format!("  {:1$}{2}", part.name, BYTES - 2, pairs(&part.bytes));
    let is_beside = head.len() + 2 <= MEANING;
    let mut told = match is_beside {
        true => String::new(),
        false => fill(&format!("  {:1$}", part.name, BYTES - 2), BYTES, &pairs(&part.bytes)),
    };
    for (index, line) in part.meaning.iter().enumerate() {
        let margin = MEANING + line.len() - line.trim_start().len();
        let start = if index == 0 && is_beside { format!("{head:MEANING$}") } else { " ".repeat(margin) };
        told += &fill(&start, margin, line.trim_start());
    }
    match part.name.is_empty() {
        true => told,
        false => told.replacen(&part.name, &paint.paint(Some(Colour::Bold), &part.name), 1),
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_client::{CardProtocol, Reader, ReaderState, hex};
    use proptest::prelude::*;

    use super::*;
    use crate::layout::WIDTH;

    fn told(atr: &[u8]) -> String {
        let reader = Reader {
            name: "readers/desk".into(),
            display_name: "Yubico YubiKey 00 00".into(),
            state: ReaderState::Ready.into(),
            atr: atr.to_vec(),
            active_protocol: CardProtocol::T1.into(),
            ..Reader::default()
        };
        text(&Known { descriptions: vec!["A listed card".into()], ..Known::of(reader).unwrap() }, Paint::NEVER)
    }

    #[test]
    fn a_card_is_rows_and_then_its_bytes() {
        let expected = "\
readers/desk
      Name: Yubico YubiKey 00 00
     State: READY, T=1
      Card: YubiKey
 Listed as: A listed card
       ATR: 3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40

  TS   3B           direct convention
  T0   FD           TA1, TB1, TC1, TD1 follow; 13 historical bytes
  TA1  13           Fi 372, Di 4; at most 5 MHz, that is 53763 bit/s
  TB1  00           no programming voltage; not used any more
  TC1  00           no extra guard time
  TD1  81           TD2 follows; protocol T=1
  TD2  31           TA3, TB3 follow; protocol T=1
  TA3  FE           T=1: the card takes blocks of at most 254 bytes
  TB3  15           T=1: waiting times: BWI 1 for a block, CWI 5 for a character
       80           COMPACT-TLV objects
       73 C0 21 C0  card capabilities
                      file selection by full name
                      file selection by partial name
                      proprietary write
                      data unit of 1 byte
                      command chaining
                      extended Lc and Le
       57 59 75 62 69 4B 65 79
                    card issuer's data: \"YubiKey\"
  TCK  40           check byte, correct
";
        let atr = hex::parse("3BFD1300008131FE158073C021C057597562694B657940").unwrap();
        assert_eq!(told(&atr), expected);
    }

    proptest! {
        #[test]
        fn any_card_fits_80_columns(atr in proptest::collection::vec(any::<u8>(), 1..40)) {
            let told = told(&atr);
            prop_assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{}", told);
        }
    }
}
