//! An answer to reset, byte by byte (ISO/IEC 7816-3:2006 §8), read from any bytes without a failure.

mod historical;
mod interface;
mod storage;
#[cfg(test)]
mod tests;

pub(crate) use historical::{life_cycle, object};
use interface::Interface;
pub(super) use storage::storage_card;

/// One or more bytes of an answer to reset with one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The bytes, at least one.
    pub(crate) bytes: Vec<u8>,
    /// The standard's name: `TS`, `TA1`, `TCK`; empty for historical bytes.
    pub(crate) name: String,
    /// The meaning, in one or more lines.
    pub(crate) meaning: Vec<String>,
}

impl Part {
    fn new(bytes: &[u8], name: &str, meaning: impl IntoIterator<Item = String>) -> Self {
        Self { bytes: bytes.to_vec(), name: name.to_owned(), meaning: meaning.into_iter().collect() }
    }
}

/// The verdict on the check byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// The card offers T=0 alone and sends none.
    Absent,
    Correct,
    Wrong,
    /// It should be there and is not.
    Missing,
}

impl Check {
    /// The name in the JSON output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Correct => "correct",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }
}

/// An answer to reset in parts. Concatenated, their bytes are the whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Atr {
    pub(crate) parts: Vec<Part>,
    /// The offered protocols, 0–14, in their order; T=0 if the card names none. Empty if the answer is cut off.
    pub(crate) protocols: Vec<u8>,
    pub(crate) historical: Vec<u8>,
    pub(crate) check: Check,
    /// Whether the interface bytes are those of a contactless card (PC/SC part 3 §3.1.3.2.3).
    pub(crate) is_contactless: bool,
    /// Whether the first global TB (after T=15) is there, as in a SIM or UICC (ETSI TS 102 221 §6.3).
    pub(crate) has_global_tb: bool,
}

impl Atr {
    /// Reads an answer to reset. What follows a cut or a surplus byte is a part of its own.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut interface = Interface::new(bytes);
        let is_whole = interface.read();
        let Interface { mut parts, rest, historical_count, protocols, has_global_tb, .. } = interface;
        let needs_check = protocols.iter().any(|protocol| *protocol != 0);
        let (historical, rest) = rest.split_at(historical_count.min(rest.len()));
        parts.extend(historical::explain(historical));
        let is_cut = !is_whole || historical.len() < historical_count;
        let (check, surplus) = match rest {
            rest if !needs_check => (Check::Absent, rest),
            [] => (Check::Missing, rest),
            [_, surplus @ ..] => {
                let end = bytes.len() - surplus.len();
                let sum = bytes[1..end].iter().fold(0, |sum, byte| sum ^ byte);
                (if sum == 0 { Check::Correct } else { Check::Wrong }, surplus)
            }
        };
        if let (true, Some(byte)) = (needs_check, rest.first()) {
            let wanted = bytes[1..bytes.len() - rest.len()].iter().fold(0, |sum, byte| sum ^ byte);
            let meaning = match check {
                Check::Correct => "check byte, correct".to_owned(),
                _ => format!("check byte, wrong: {wanted:02X} is expected"),
            };
            parts.push(Part::new(&[*byte], "TCK", [meaning]));
        }
        if !surplus.is_empty() {
            parts.push(Part::new(surplus, "", ["more bytes than the answer announces".to_owned()]));
        }
        if is_cut && let Some(last) = parts.last_mut() {
            last.meaning.push("the answer ends before its announced end".to_owned());
        }
        // 15 is no protocol: global interface bytes follow.
        let mut offered: Vec<u8> = protocols.into_iter().filter(|protocol| *protocol != 15).collect();
        if offered.is_empty() && is_whole {
            offered.push(0);
        }
        Self {
            parts,
            protocols: offered,
            historical: historical.to_vec(),
            check,
            is_contactless: matches!(bytes, [0x3B, t0, 0x80, 0x01, ..] if t0 & 0xF0 == 0x80),
            has_global_tb,
        }
    }
}
