//! Contactless storage cards, whose answer to reset the reader makes (PC/SC part 3 §3.1.3.2.3, and its supplement).

/// The head of the application identifier object: tag 4F, 12 bytes, the registered identifier of the PC/SC workgroup.
const HEAD: [u8; 7] = [0x4F, 0x0C, 0xA0, 0x00, 0x00, 0x03, 0x06];

/// The standard of a value of SS.
fn standard(number: u8) -> Option<&'static str> {
    Some(match number {
        0x00 => "no standard given",
        0x01 => "ISO 14443 A, part 1",
        0x02 => "ISO 14443 A, part 2",
        0x03 => "ISO 14443 A, part 3",
        0x05 => "ISO 14443 B, part 1",
        0x06 => "ISO 14443 B, part 2",
        0x07 => "ISO 14443 B, part 3",
        0x09 => "ISO 15693, part 1",
        0x0A => "ISO 15693, part 2",
        0x0B => "ISO 15693, part 3",
        0x0C => "ISO 15693, part 4",
        0x0D => "ISO 7816-10, I2C",
        0x0E => "ISO 7816-10, extended I2C",
        0x0F => "ISO 7816-10, 2WBP",
        0x10 => "ISO 7816-10, 3WBP",
        0x11 => "FeliCa",
        _ => return None,
    })
}

/// The card of a value of NN.
fn name(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0001 => "MIFARE Classic 1K",
        0x0002 => "MIFARE Classic 4K",
        0x0003 => "MIFARE Ultralight",
        0x0006 => "SR176",
        0x0007 => "SRI X4K",
        0x0008 => "AT88RF020",
        0x0012 => "Tag-it",
        0x0013 => "LRI512",
        0x0014 => "ICODE SLI",
        0x0016 => "I-CODE 1",
        0x0026 => "MIFARE Mini",
        0x0036 => "MIFARE Plus SL1 2K",
        0x0037 => "MIFARE Plus SL1 4K",
        0x0038 => "MIFARE Plus SL2 2K",
        0x0039 => "MIFARE Plus SL2 4K",
        0x003A => "MIFARE Ultralight C",
        0x003B => "FeliCa",
        _ => return None,
    })
}

/// The meaning of the object of a storage card, if these historical bytes (after the category) are one.
pub(super) fn object(bytes: &[u8]) -> Option<Vec<String>> {
    let [ss, high, low, ..] = bytes.strip_prefix(&HEAD)? else { return None };
    let number = u16::from_be_bytes([*high, *low]);
    let standard = standard(*ss).unwrap_or("reserved standard");
    let name = name(number).unwrap_or("a card without a name in PC/SC part 3");
    Some(vec![
        "storage card, described by the reader (PC/SC part 3)".to_owned(),
        format!("  standard {ss:02X}: {standard}"),
        format!("  card {number:04X}: {name}"),
    ])
}

/// The name of a storage card by its historical bytes.
pub(crate) fn storage_card(historical: &[u8]) -> Option<String> {
    let [ss, high, low, ..] = historical.strip_prefix(&[0x80])?.strip_prefix(&HEAD)? else { return None };
    let number = u16::from_be_bytes([*high, *low]);
    let standard = standard(*ss).map(|standard| format!(" ({standard})")).unwrap_or_default();
    Some(match name(number) {
        Some(name) => format!("{name}{standard}"),
        None => format!("storage card {number:04X}{standard}"),
    })
}
