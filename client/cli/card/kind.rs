//! The kind of a card by its answer to reset, as far as public standards tell it.

use super::atr::{Atr, object, storage_card};
use crate::apdu::{application, dump::text};

/// The beginning of an OpenPGP card's historical bytes: its card service data and the first byte of its capabilities,
/// each with its tag (OpenPGP smart card application 3.4 §6).
const OPENPGP: [(u8, &[u8]); 2] = [(0x31, &[0xC5, 0xF5]), (0x73, &[0xC0])];

/// Names the kind of a card: `YubiKey`, `MIFARE Classic 1K`; `None` if the answer tells none.
pub(crate) fn kind(atr: &Atr) -> Option<String> {
    storage_card(&atr.historical)
        .or_else(|| by_application(&atr.historical))
        .or_else(|| by_text(&atr.historical))
        .or_else(|| is_openpgp(&atr.historical).then(|| "OpenPGP card".to_owned()))
        .or_else(|| (atr.is_contactless && atr.historical == [0x80]).then(|| "MIFARE DESFire or similar".to_owned()))
        .or_else(|| atr.has_global_tb.then(|| "SIM or UICC".to_owned()))
        .or_else(|| atr.is_contactless.then(|| "contactless card (ISO 14443-4)".to_owned()))
}

/// The application whose identifier the historical bytes give.
fn by_application(historical: &[u8]) -> Option<String> {
    let aid = object(historical, &[0x0F])?;
    Some(application::of(&aid)?.words.to_owned())
}

/// The name that the issuer or the manufacturer has written.
fn by_text(historical: &[u8]) -> Option<String> {
    let written = |bytes: &[u8]| text(bytes).filter(|text| text.chars().any(char::is_alphabetic));
    match historical.first()? {
        0x00 | 0x80 => object(historical, &[0x05, 0x06]).and_then(|value| written(&value)),
        0x10 => None,
        // The longest run of text: some bytes around it are versions.
        _ => {
            let runs = historical.split(|byte| !(b' '..=b'~').contains(byte));
            written(runs.max_by_key(|run| run.len()).filter(|run| run.len() >= 4)?).map(|text| text.trim().to_owned())
        }
    }
}

fn is_openpgp(historical: &[u8]) -> bool {
    let [0x00, first_tag, service, second_tag, selection, ..] = historical else { return false };
    let is_fitting = |(tag, values): (u8, &[u8]), found_tag: u8, value: u8| tag == found_tag && values.contains(&value);
    is_fitting(OPENPGP[0], *first_tag, *service) && is_fitting(OPENPGP[1], *second_tag, *selection)
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;

    use super::*;

    fn told(atr: &str) -> Option<String> {
        kind(&Atr::read(&hex::parse(atr).unwrap()))
    }

    #[test]
    fn cards_that_standards_describe_have_a_name() {
        for (atr, expected) in [
            ("3B8F8001804F0CA000000306030001000000006A", Some("MIFARE Classic 1K (ISO 14443 A, part 3)")),
            ("3B8F8001804F0CA0000003060B00140000000077", Some("ICODE SLI (ISO 15693, part 3)")),
            ("3B8F8001804F0CA000000306FFFFFF0000000000", Some("storage card FFFF")),
            ("3BFD1300008131FE158073C021C057597562694B657940", Some("YubiKey")),
            ("3BDA18FF81B1FE751F030031F573C001600090001C", Some("OpenPGP card")),
            ("3B8180018080", Some("MIFARE DESFire or similar")),
            ("3B80800101", Some("contactless card (ISO 14443-4)")),
            ("3BFF1300008131FE454A434F5076323431B7", Some("JCOPv241")),
            ("3B9F96803FC7828031E073FE211B63E20AA8830F90002A", Some("SIM or UICC")),
            ("3B00", None),
            ("", None),
        ] {
            assert_eq!(told(atr).as_deref(), expected, "{atr}");
        }
    }
}
