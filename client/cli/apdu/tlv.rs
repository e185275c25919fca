//! BER-TLV data objects (ISO/IEC 8825-1, ISO/IEC 7816-4:2013 §6.3) as a tree.

use std::fmt::{self, Write};

use super::{
    application,
    dump::{dump, pairs, text},
    oid, tag,
};
use crate::layout::WIDTH;

/// The deepest nesting; deeper objects are shown as bytes.
const MAX_DEPTH: usize = 12;

/// A data object: its tag and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    /// The tag with all its bytes, at most four.
    pub(crate) tag: u32,
    pub(crate) content: Content<'a>,
}

/// The value of a data object. Its bytes may be a secret, and are not printed for debugging.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Value(&'a [u8]),
    Objects(Vec<Object<'a>>),
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(formatter, "{} bytes", value.len()),
            Self::Objects(objects) => objects.fmt(formatter),
        }
    }
}

/// Reads bytes that are data objects from the first to the last one; `None` for other bytes. A value that should hold
/// data objects, but does not, stays a value.
pub(crate) fn read(bytes: &[u8]) -> Option<Vec<Object<'_>>> {
    read_at(bytes, 0)
}

/// Reads bytes as [`read`] does if they are probably meant as data objects: the first one holds others, or has a tag
/// of the standards.
pub(crate) fn probable(bytes: &[u8]) -> Option<Vec<Object<'_>>> {
    let objects = read(bytes)?;
    let first = objects.first()?;
    let is_probable = matches!(first.content, Content::Objects(_)) || tag::name(None, first.tag).is_some();
    is_probable.then_some(objects)
}

fn read_at(mut bytes: &[u8], depth: usize) -> Option<Vec<Object<'_>>> {
    let mut objects = Vec::new();
    while !bytes.is_empty() {
        let (tag, is_constructed, rest) = read_tag(bytes)?;
        let (length, rest) = read_length(rest)?;
        let (value, rest) = (rest.get(..length)?, &rest[length..]);
        let inner = if is_constructed && depth < MAX_DEPTH { read_at(value, depth + 1) } else { None };
        objects.push(Object { tag, content: inner.map_or(Content::Value(value), Content::Objects) });
        bytes = rest;
    }
    Some(objects)
}

fn read_tag(bytes: &[u8]) -> Option<(u32, bool, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    // 00 and FF are padding between data objects, never tags.
    if matches!(first, 0x00 | 0xFF) {
        return None;
    }
    let mut tag = u32::from(*first);
    if first & 0x1F == 0x1F {
        loop {
            let (next, left) = rest.split_first()?;
            tag = tag.checked_mul(0x100)? | u32::from(*next);
            rest = left;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    Some((tag, first & 0x20 != 0, rest))
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match first {
        0x00..=0x7F => Some((usize::from(*first), rest)),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
            Some((length, rest))
        }
        _ => None,
    }
}

/// The tree in lines of at most 80 columns, each with a new line.
pub(crate) fn tree(objects: &[Object<'_>]) -> String {
    let mut told = String::new();
    write_objects(&mut told, objects, None, 2);
    told
}

fn write_objects(told: &mut String, objects: &[Object<'_>], parent: Option<u32>, indent: usize) {
    for object in objects {
        let name = tag::name(parent, object.tag).map(|name| format!(" {name}")).unwrap_or_default();
        let head = format!("{:indent$}{:02X}{name}", "", object.tag);
        match &object.content {
            Content::Objects(inner) => {
                told.push_str(&head);
                told.push('\n');
                write_objects(told, inner, Some(object.tag), indent + 2);
            }
            Content::Value(value) => write_value(told, &head, object.tag, value, indent),
        }
    }
}

/// A value beside its head, or below it if it is long.
fn write_value(told: &mut String, head: &str, tag: u32, value: &[u8], indent: usize) {
    let shown = match words(tag, value) {
        Some(words) => format!("{}  {words}", pairs(value)),
        None => pairs(value),
    };
    let beside = format!("{head}: {shown}");
    // Writing to a string does not fail.
    let _ = if value.is_empty() {
        writeln!(told, "{head}: empty")
    } else if beside.chars().count() <= WIDTH {
        writeln!(told, "{beside}")
    } else if let Some(text) = text(value).filter(|text| head.chars().count() + text.len() + 4 <= WIDTH) {
        writeln!(told, "{head}: \"{text}\"")
    } else {
        let _ = writeln!(told, "{head}: {} bytes", value.len());
        let room = WIDTH - dump(&[0; 16]).trim_end().len();
        let margin = " ".repeat(indent.min(room));
        dump(value).lines().try_for_each(|line| writeln!(told, "{margin}{line}"))
    };
}

/// The words for a value: an application, an object identifier, or text.
fn words(tag: u32, value: &[u8]) -> Option<String> {
    match tag {
        0x4F | 0x84 => {
            application::of(value).map(|application| application.words.to_owned()).or_else(|| text(value).map(quoted))
        }
        0x06 => oid::read(value),
        0x02 if value.len() <= 4 => {
            let number = value.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
            let sign = value.first().is_some_and(|byte| byte & 0x80 != 0);
            Some((if sign { number - (1_i64 << (8 * value.len())) } else { number }).to_string())
        }
        0x8A if value.len() == 1 => Some(crate::card::life_cycle(value[0]).to_owned()),
        _ => text(value).map(quoted),
    }
}

fn quoted(text: String) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &str) -> Option<String> {
        probable(&hex::parse(bytes).unwrap()).map(|objects| tree(&objects))
    }

    #[test]
    fn the_answer_of_piv_is_a_tree() {
        let fci = "61 21 4F0B A000000308000010000100 79 07 4F05 A000000308 50 09 504956204361726420";
        let expected = [
            "  61 application template",
            "    4F application identifier: A0 00 00 03 08 00 00 10 00 01 00  PIV",
            "    79 coexistent tag allocation authority",
            "      4F application identifier: A0 00 00 03 08  PIV",
            "    50 application label: 50 49 56 20 43 61 72 64 20  \"PIV Card \"",
            "",
        ];
        assert_eq!(told(fci).unwrap(), expected.join("\n"));
    }

    #[test]
    fn text_and_random_bytes_are_no_tree() {
        for other in ["53696D756C61746564207265636F7264", "", "00", "61", "6105", "DEADBEEF", "9000", "80", "1F8182"] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[test]
    fn a_long_value_is_a_dump_and_a_number_is_read() {
        let told = told(&format!("30 2A 0201FF 0606 2A864886F70D 041D{}", "41".repeat(29))).unwrap();
        assert!(told.contains("02 INTEGER: FF  -1"), "{told}");
        assert!(told.contains("1.2.840.113549"), "{told}");
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_any_tree_fits(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(objects) = read(&bytes) {
                let told = tree(&objects);
                prop_assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{}", told);
                prop_assert!(told.chars().all(|letter| letter == '\n' || !letter.is_control()));
            }
        }

        #[test]
        fn nested_objects_are_read(values in proptest::collection::vec(any::<u8>(), 0..100), depth in 0_usize..40) {
            let mut bytes = values;
            for _ in 0..depth {
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                bytes = [&[0x61, 0x82, length[0], length[1]], &bytes[..]].concat();
            }
            if depth > 0 {
                let objects = read(&bytes).unwrap();
                prop_assert_eq!(objects.len(), 1);
                let told = tree(&objects);
                prop_assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{}", told);
            }
        }
    }
}
