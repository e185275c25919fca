//! Historical bytes (ISO/IEC 7816-4:2013 §12.1.1): COMPACT-TLV data objects and the status indicator.

use cardbroker_client::{hex, status_word};

use super::{Part, storage};
use crate::apdu::{application, dump::text};

/// Splits the historical bytes into parts. Concatenated, their bytes are all of them.
pub(super) fn explain(bytes: &[u8]) -> Vec<Part> {
    let Some((category, rest)) = bytes.split_first() else { return Vec::new() };
    match category {
        0x00 if rest.len() >= 3 => {
            let (objects, status) = rest.split_at(rest.len() - 3);
            let mut parts = vec![told(&[0x00], "COMPACT-TLV objects, then the card's status")];
            parts.extend(compact(objects));
            parts.push(Part::new(status, "", indicator(status)));
            parts
        }
        0x80 => {
            let mut parts = vec![told(&[0x80], "COMPACT-TLV objects")];
            parts.extend(compact(rest));
            parts
        }
        0x10 if rest.len() == 1 => vec![told(bytes, "reference to the card's directory data")],
        0x81..=0x8F => vec![told(bytes, "reserved by ISO 7816-4")],
        _ => {
            let text = text(bytes).map(|text| format!(": \"{text}\"")).unwrap_or_default();
            vec![told(bytes, &format!("the manufacturer's own format{text}"))]
        }
    }
}

/// The value of the first COMPACT-TLV object with one of these tags.
pub(crate) fn object(historical: &[u8], tags: &[u8]) -> Option<Vec<u8>> {
    let mut rest = match historical.split_first()? {
        (0x80, rest) => rest,
        (0x00, rest) => rest.get(..rest.len().checked_sub(3)?)?,
        _ => return None,
    };
    while let Some((tag, value, left)) = next(rest) {
        if tags.contains(&tag) {
            return Some(value.to_vec());
        }
        rest = left;
    }
    None
}

fn told(bytes: &[u8], meaning: &str) -> Part {
    Part::new(bytes, "", [meaning.to_owned()])
}

/// The next object: its tag, its value and the bytes after it.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first()?;
    let length = usize::from(head & 0x0F);
    Some((head >> 4, rest.get(..length)?, &rest[length..]))
}

fn compact(mut bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        // The application identifier of PC/SC's storage cards has a length of its own byte.
        if let Some(storage) = storage::object(bytes) {
            parts.push(Part::new(bytes, "", storage));
            break;
        }
        let Some((tag, value, rest)) = next(bytes) else {
            parts.push(told(bytes, "an object that is cut off"));
            break;
        };
        parts.push(Part::new(&bytes[..=value.len()], "", meaning(tag, value)));
        bytes = rest;
    }
    parts
}

fn meaning(tag: u8, value: &[u8]) -> Vec<String> {
    let named = |name: &str| match text(value) {
        Some(text) => vec![format!("{name}: \"{text}\"")],
        None => vec![format!("{name}: {}", hex::format(value))],
    };
    match tag {
        1 => named("country code and national data"),
        2 => named("issuer identification number"),
        3 if value.len() == 1 => services(value[0]),
        4 => named("initial access data"),
        5 => named("card issuer's data"),
        6 => named("pre-issuing data"),
        7 => capabilities(value),
        8 if (1..=3).contains(&value.len()) => indicator(value),
        15 => match application::of(value) {
            Some(application) => vec![format!("application {}: {}", hex::format(value), application.words)],
            None => named("application identifier"),
        },
        _ => named("an object without a meaning in ISO 7816-4"),
    }
}

/// The status indicator: a life cycle status, a status word, or both.
fn indicator(value: &[u8]) -> Vec<String> {
    let (life, word) = match value {
        [life] => (Some(*life), None),
        [high, low] => (None, Some([*high, *low])),
        [life, high, low] => (Some(*life), Some([*high, *low])),
        _ => (None, None),
    };
    let mut told = vec!["status indicator".to_owned()];
    if let Some(life) = life {
        told.push(format!("  life cycle {life:02X}: {}", life_cycle(life)));
    }
    if let Some(word) = word.map(u16::from_be_bytes) {
        let meaning = match word {
            0x0000 => "not indicated".into(),
            word => status_word::meaning(word).unwrap_or_else(|| "no meaning in ISO 7816-4".into()),
        };
        told.push(format!("  status word {word:04X}: {meaning}"));
    }
    told
}

/// The words for a life cycle status byte (ISO/IEC 7816-4:2013 table 14).
pub(crate) fn life_cycle(byte: u8) -> &'static str {
    match byte {
        0x00 => "not indicated",
        0x01 => "creation",
        0x03 => "initialisation",
        0x04 | 0x06 => "operational, deactivated",
        0x05 | 0x07 => "operational, activated",
        0x0C..=0x0F => "terminated",
        0x10.. => "the manufacturer's own",
        _ => "reserved",
    }
}

/// The card service data byte.
fn services(byte: u8) -> Vec<String> {
    let mut told = vec!["card service data".to_owned()];
    let bits = [
        (0x80, "application selection by full name"),
        (0x40, "application selection by partial name"),
        (0x20, "data objects in EF.DIR"),
        (0x10, "data objects in EF.ATR"),
    ];
    told.extend(bits.iter().filter(|(bit, _)| byte & bit != 0).map(|(_, name)| format!("  {name}")));
    let access = match byte >> 1 & 0x07 {
        0b100 => "  EF.DIR and EF.ATR are read by READ BINARY",
        0b000 => "  EF.DIR and EF.ATR are read by READ RECORD",
        0b010 => "  EF.DIR and EF.ATR are read by GET DATA",
        _ => "  EF.DIR and EF.ATR: reserved value",
    };
    told.push(access.to_owned());
    told.push(if byte & 1 == 0 { "  with a master file" } else { "  without a master file" }.to_owned());
    told
}

/// The card capabilities, of one to three bytes.
fn capabilities(value: &[u8]) -> Vec<String> {
    let mut told = vec!["card capabilities".to_owned()];
    if let Some(selection) = value.first() {
        let bits = [
            (0x80, "file selection by full name"),
            (0x40, "file selection by partial name"),
            (0x20, "file selection by path"),
            (0x10, "file selection by file identifier"),
            (0x08, "implicit file selection"),
            (0x04, "short file identifiers"),
            (0x02, "record numbers"),
            (0x01, "record identifiers"),
        ];
        told.extend(bits.iter().filter(|(bit, _)| selection & bit != 0).map(|(_, name)| format!("  {name}")));
    }
    if let Some(coding) = value.get(1) {
        if coding & 0x80 != 0 {
            told.push("  files of TLV structure".to_owned());
        }
        let write = ["one-time write", "proprietary write", "write OR", "write AND"];
        told.push(format!("  {}", write[usize::from(coding >> 5 & 0x03)]));
        let quartets = 1_u32 << (coding & 0x0F);
        let unit =
            if quartets == 1 { "half a byte".to_owned() } else { crate::words::count((quartets / 2).into(), "byte") };
        told.push(format!("  data unit of {unit}"));
    }
    if let Some(further) = value.get(2) {
        let bits = [
            (0x80, "command chaining"),
            (0x40, "extended Lc and Le"),
            (0x20, "extended lengths are told in EF.ATR"),
            (0x10, "the card assigns logical channels"),
            (0x08, "the reader's side assigns logical channels"),
        ];
        told.extend(bits.iter().filter(|(bit, _)| further & bit != 0).map(|(_, name)| format!("  {name}")));
        if further & 0x18 != 0 {
            let count = match further & 0x07 {
                7 => "8 or more".to_owned(),
                count => (count + 1).to_string(),
            };
            told.push(format!("  logical channels: {count}"));
        }
    }
    told
}
