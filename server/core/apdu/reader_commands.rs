//! Commands to the reader itself, in class FF (PC/SC part 3 §3.2), as far as their effect on the card matters.

/// The class of commands to the reader.
const READER: u8 = 0xFF;

/// Instructions that may contain a command to the card, or reset it: transparent exchange and escapes of several
/// makers.
const REACHING: [u8; 9] = [
    0x50, // transparent exchange of Sony's readers
    0x68, 0x70, // HID Omnikey
    0xA4, // ACS: the type of a memory card, which starts it again
    0xC2, // transparent exchange (PC/SC part 3, amendment 1)
    0xCC, 0xEF, // Identiv
    0xF0, // SpringCard: any control command
    0xFE, // SpringCard, Identiv, Sony
];

/// Whether a command goes to the reader and contains none to the card: it loads a key, switches a light, reads or
/// writes a memory card.
pub fn stays_in_reader([class, instruction, p1, _]: [u8; 4]) -> bool {
    // FF 00 00 is a command to the reader's chip, which may pass its data on; with another P1 it is for lights and
    // settings. Instructions that present a PIN may be meant for any card.
    let may_reach_it = REACHING.contains(&instruction) || instruction == 0x00 && p1 == 0x00;
    class == READER && !may_reach_it && !super::presents_pin(instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_and_pins_may_reach_the_card() {
        for may_reach in [0x20, 0x24, 0x2C, 0x50, 0x68, 0x70, 0xA4, 0xC2, 0xCC, 0xEF, 0xF0, 0xFE] {
            assert!(!stays_in_reader([0xFF, may_reach, 0x01, 0x00]), "{may_reach:02X}");
        }
        assert!(!stays_in_reader([0xFF, 0x00, 0x00, 0x00]) && !stays_in_reader([0x00, 0xD6, 0x00, 0x00]));
        for header in [[0xFF, 0x00, 0x40, 0x0F], [0xFF, 0x82, 0x00, 0x00], [0xFF, 0xCA, 0x00, 0x00], [0xFF, 0xD6, 0, 4]]
        {
            assert!(stays_in_reader(header), "{header:02X?}");
        }
    }
}
