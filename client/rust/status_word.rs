//! Status words in plain words (ISO/IEC 7816-4 §5.6, tables 5 and 6).

use std::borrow::Cow;

/// Returns the meaning of a status word, or `None` if ISO 7816-4 gives it none (applications define their own).
pub fn meaning(status_word: u16) -> Option<Cow<'static, str>> {
    let [sw1, sw2] = status_word.to_be_bytes();
    let text = match (sw1, sw2) {
        (0x90, 0x00) => "done",
        (0x61, 0x00) => return Some("done, 256 or more bytes are waiting".into()),
        (0x61, count) => return Some(format!("done, {count} more bytes are waiting").into()),
        (0x62, 0x00) => "warning, nothing was changed",
        (0x62, 0x02..=0x80) => return Some(format!("warning, the card wants to be asked for {sw2} bytes").into()),
        (0x62, 0x81) => "warning, part of the data may be corrupted",
        (0x62, 0x82) => "warning, the end of the file or record came before Le bytes",
        (0x62, 0x83) => "warning, the selected file is deactivated",
        (0x62, 0x84) => "warning, the control information is not formatted as the standard says",
        (0x62, 0x85) => "warning, the selected file is in termination state",
        (0x62, 0x86) => "warning, no data from a sensor on the card",
        (0x62, 0x87) => "warning, at least one of the records is deactivated",
        (0x63, 0x00) => "warning, something was changed",
        (0x63, 0x81) => "warning, the last write filled the file up",
        (0x63, 0xC0) => "not verified, no tries left",
        (0x63, 0xC1) => "not verified, 1 try left",
        (0x63, 0xC2..=0xCF) => return Some(format!("not verified, {} tries left", sw2 & 0x0F).into()),
        (0x64, 0x00) => "execution failed, nothing was changed",
        (0x64, 0x01) => "execution failed, the card needs an immediate response",
        (0x64, 0x02..=0x80) => return Some(format!("stopped, the card wants to be asked for {sw2} bytes").into()),
        (0x65, 0x00) => "execution failed, something was changed",
        (0x65, 0x81) => "execution failed, memory failure",
        (0x66, 0x00) => "execution failed, security issue",
        (0x67, 0x00) => "wrong length",
        (0x68, 0x00) => "function of the class byte not supported",
        (0x68, 0x81) => "logical channel not supported",
        (0x68, 0x82) => "secure messaging not supported",
        (0x68, 0x83) => "the last command of the chain was expected",
        (0x68, 0x84) => "command chaining not supported",
        (0x69, 0x00) => "command not allowed",
        (0x69, 0x81) => "command does not fit the file's structure",
        (0x69, 0x82) => "security status not satisfied: a PIN or key must be verified first",
        (0x69, 0x83) => "authentication method blocked: no tries left",
        (0x69, 0x84) => "reference data not usable",
        (0x69, 0x85) => "conditions of use not satisfied",
        (0x69, 0x86) => "command not allowed: no file is selected",
        (0x69, 0x87) => "secure messaging objects are missing",
        (0x69, 0x88) => "secure messaging objects are wrong",
        (0x6A, 0x00) => "wrong P1 or P2",
        (0x6A, 0x80) => "wrong parameters in the command's data",
        (0x6A, 0x81) => "function not supported",
        (0x6A, 0x82) => "file or application not found",
        (0x6A, 0x83) => "record not found",
        (0x6A, 0x84) => "not enough memory in the file",
        (0x6A, 0x85) => "length does not fit the TLV structure",
        (0x6A, 0x86) => "wrong P1 or P2",
        (0x6A, 0x87) => "length does not fit P1 and P2",
        (0x6A, 0x88) => "referenced data not found",
        (0x6A, 0x89) => "file exists already",
        (0x6A, 0x8A) => "application name exists already",
        (0x6B, 0x00) => "wrong P1 or P2: offset outside the file",
        (0x6C, 0x00) => "wrong Le: 256 or more bytes are there",
        (0x6C, count) => return Some(format!("wrong Le: {count} bytes are there").into()),
        (0x6D, 0x00) => "instruction not supported",
        (0x6E, 0x00) => "class not supported",
        (0x6F, 0x00) => "failed, no reason given",
        _ => return None,
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Write};

    use serde::{Deserialize, Serialize};

    use super::*;

    const VECTORS: &str = include_str!("../../proto/conformance/status_words.json");

    /// One row of the conformance kit's table.
    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Vector {
        status_word: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    }

    /// Every status word of a class of its own, both ends and the middle of each range, and the neighbours of all.
    fn expected() -> Vec<Vector> {
        let mut samples = BTreeMap::new();
        let mut class_before = None;
        for status_word in 0..=u16::MAX {
            let class =
                meaning(status_word).map(|text| text.replace(|character: char| character.is_ascii_digit(), "#"));
            if class != class_before {
                samples.extend([status_word.saturating_sub(1), status_word].map(|word| (word, ())));
            }
            class_before = class;
        }
        for middle in
            [0x6113, 0x6140, 0x6210, 0x6240, 0x63C3, 0x63CA, 0x6410, 0x6440, 0x6C20, 0x6CFF, 0x9F10, 0xFFFF, 0]
        {
            samples.insert(middle, ());
        }
        let vector = |status_word| Vector { status_word, text: meaning(status_word).map(Cow::into_owned) };
        samples.into_keys().map(vector).collect()
    }

    fn written(vectors: &[Vector]) -> String {
        let mut text = String::from("[\n");
        for (index, vector) in vectors.iter().enumerate() {
            let comma = if index + 1 < vectors.len() { "," } else { "" };
            writeln!(text, "  {}{comma}", serde_json::to_string(vector).unwrap()).unwrap();
        }
        text + "]\n"
    }

    #[test]
    fn the_vectors_of_the_kit_agree_and_are_complete() {
        if std::env::var_os("WRITE_VECTORS").is_some() {
            std::fs::write("../../proto/conformance/status_words.json", written(&expected())).unwrap();
            return;
        }
        let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors == expected(), "run the test with WRITE_VECTORS=1 and read what has changed");
    }
}
