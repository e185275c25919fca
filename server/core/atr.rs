//! The protocols that a card offers in its answer to reset (ISO 7816-3 §8.2).

/// Returns the names of the offered protocols for people, such as `T=0 and T=1`; `None` if the bytes are no answer to
/// reset.
pub fn offered_protocols(atr: &[u8]) -> Option<String> {
    let (_, rest) = atr.split_first()?;
    let mut bytes = rest.iter();
    let mut offered = Vec::new();
    let mut indicator = bytes.next()?;
    loop {
        // TA, TB and TC, as far as they are present.
        let others = (indicator >> 4 & 0x07).count_ones() as usize;
        if others > 0 {
            bytes.nth(others - 1)?;
        }
        if indicator & 0x80 == 0 {
            break;
        }
        indicator = bytes.next()?;
        let protocol = indicator & 0x0F;
        // 15 is no protocol: global interface bytes follow.
        if protocol != 15 && !offered.contains(&protocol) {
            offered.push(protocol);
        }
    }
    // Without any TD the card speaks T=0.
    let names: Vec<_> = if offered.is_empty() { vec![0] } else { offered };
    Some(names.iter().map(|protocol| format!("T={protocol}")).collect::<Vec<_>>().join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_of_an_answer_to_reset_are_read() {
        for (atr, expected) in [
            ("3B00", Some("T=0")),
            ("3B80800101", Some("T=0 and T=1")),
            ("3B8001", Some("T=1")),
            ("3BFF1300008131FE454A434F5076323431B7", Some("T=1")),
            ("3BD518FF8191FE1FC3804A4F50", Some("T=1")),
            ("3B", None),
            ("", None),
            ("3BF0", None),
        ] {
            assert_eq!(offered_protocols(&hex::decode(atr).unwrap()).as_deref(), expected, "{atr}");
        }
    }
}
