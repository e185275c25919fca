//! Decides which commands carry secrets, and which bytes of an exchange an APDU trace shows.

use hex::encode_upper;

use super::{Class, CommandApdu, StatusWord};

/// Instructions whose command or response data may be a PIN, a key, or data that a key protects. They count in every
/// class, because applications with their own class mostly keep the standard instruction numbers.
///
/// Some instructions are left out because their data is public: GENERATE ASYMMETRIC KEY PAIR (46, 47: the response is
/// the public key), MANAGE SECURITY ENVIRONMENT (22: names of keys) and GET CHALLENGE (84). Reading and writing files
/// (B0–B3, D0–D7, DC, DD) is left out because secrecy depends on the file: an operator with secret files adds the
/// instruction. The instructions that present a PIN are in [`PRESENTS_PIN`].
const SECRET_INSTRUCTIONS: &[u8] = &[
    // Basic security handling (ISO 7816-4:2013 §11.5).
    0x82, // EXTERNAL and MUTUAL AUTHENTICATE
    0x86, 0x87, // GENERAL AUTHENTICATE
    0x88, // INTERNAL AUTHENTICATE; on SIM cards RUN GSM ALGORITHM and AUTHENTICATE, which answer with session keys
    // Signing and deciphering (ISO 7816-8).
    0x2A, 0x2B, // PERFORM SECURITY OPERATION
    // Transmission handling (ISO 7816-4:2013 §11.7): any other command may be inside.
    0xC2, 0xC3, // ENVELOPE
    // Data objects, which may be keys (ISO 7816-4:2013 §11.4).
    0xDA, 0xDB, // PUT DATA
    // GlobalPlatform Card Specification 2.3.1 §11.8 and §11.11; in ISO 7816-4 E2 is APPEND RECORD.
    0xD8, // PUT KEY
    0xE2, // STORE DATA
    // Defined by common tokens outside the standards.
    0x01, // PUT of an OATH secret, and the slots of one-time passwords
    0x02, // DELETE of YubiHSM Auth: the management key
    0x03, // SET CODE of OATH: the access key; CALCULATE of YubiHSM Auth: session keys
    0x08, // PUT MANAGEMENT KEY of YubiHSM Auth
    0x0B, // CHANGE CREDENTIAL PASSWORD of YubiHSM Auth
    0xFE, // IMPORT ASYMMETRIC KEY
    0xFF, // SET MANAGEMENT KEY
];

/// Instructions that present a PIN, or the code that unblocks one. The next odd instruction number does the same, with
/// its data in data objects (ISO 7816-4:2013 §11.5).
const PRESENTS_PIN: [u8; 5] = [
    0x20, // VERIFY
    0x24, // CHANGE REFERENCE DATA
    0x26, // DISABLE VERIFICATION REQUIREMENT
    0x28, // ENABLE VERIFICATION REQUIREMENT
    0x2C, // RESET RETRY COUNTER
];

/// Whether an instruction presents a PIN, or the code that unblocks one.
pub fn presents_pin(instruction: u8) -> bool {
    PRESENTS_PIN.contains(&(instruction & !1))
}

/// The only command to the reader itself whose data is shown (PC/SC part 3 §3.2.2.1, GET DATA: the card's number).
/// Other commands load keys (82), authenticate (86, 88), write keys into memory cards (D6), or wrap commands to the
/// reader's chip (00, C2).
const READER_GET_DATA: u8 = 0xCA;

/// The instructions that carry secrets, the same for all readers of a broker.
#[derive(Debug, Clone)]
pub struct SecretInstructions([bool; 256]);

impl SecretInstructions {
    /// Combines the instructions of the standards and of common tokens with `more` from the configuration.
    pub fn new(more: impl IntoIterator<Item = u8>) -> Self {
        let mut secret = [false; 256];
        let pins = (0..=u8::MAX).filter(|instruction| presents_pin(*instruction));
        let all = SECRET_INSTRUCTIONS.iter().copied().chain(pins).chain(more);
        all.for_each(|instruction| secret[usize::from(instruction)] = true);
        Self(secret)
    }

    /// Whether a command or its response may carry a secret. Bytes that are no APDU count as a secret.
    fn contains_secret(&self, command: &[u8]) -> bool {
        match *command {
            _ if !CommandApdu::is_apdu(command) => true,
            [0xFF, instruction, ..] => instruction != READER_GET_DATA,
            [class, instruction, ..] => Class(class).may_have_secure_messaging() || self.0[usize::from(instruction)],
            _ => true,
        }
    }
}

/// Formats the exchanges of one slot, in their order, with secrets masked. An exchange that continues a masked one is
/// masked too: the links of a chain, and the command that fetches the rest of a response, also after the card has
/// refused it and may still keep the response. Bytes that are no APDU are not shown, and the next command may continue
/// them.
#[derive(Debug)]
pub struct ApduMask {
    instructions: SecretInstructions,
    /// Whether the current exchange is masked.
    is_secret: bool,
    /// Whether the current exchange continues a masked one.
    is_continuation: bool,
    /// Whether the next exchange would continue the current one.
    continues: bool,
}

impl ApduMask {
    /// Creates the mask of a slot that has had no exchange yet.
    pub fn new(instructions: SecretInstructions) -> Self {
        Self { instructions, is_secret: false, is_continuation: false, continues: false }
    }

    /// Formats a command before it is sent, in hexadecimal: the header, the byte after it (a length) and, unless
    /// masked, the rest. For bytes that are no APDU it shows only their number.
    pub fn command(&mut self, command: &[u8]) -> String {
        self.is_continuation = self.continues;
        self.is_secret = self.continues || self.instructions.contains_secret(command);
        if !CommandApdu::is_apdu(command) {
            self.continues = true;
            return masked(command);
        }
        let class = command.first().map(|class| Class(*class));
        self.continues = self.is_secret && class.is_some_and(Class::is_chaining);
        match command.split_at_checked(5) {
            Some((head, rest @ [_, ..])) if self.is_secret => format!("{} {}", encode_upper(head), masked(rest)),
            _ => encode_upper(command),
        }
    }

    /// Formats a response in hexadecimal: the data, unless masked, and the status word.
    pub fn response(&mut self, response: &[u8]) -> String {
        let Some((data, word)) = response.split_last_chunk() else { return masked(response) };
        let status = StatusWord(u16::from_be_bytes(*word));
        // A card may keep its response after it has refused a command.
        let may_be_kept = self.is_continuation && status.is_error();
        self.continues |= self.is_secret && status.offers_data() || may_be_kept;
        match data {
            [] => encode_upper(word),
            data if self.is_secret => format!("{} {}", masked(data), encode_upper(word)),
            data => format!("{} {}", encode_upper(data), encode_upper(word)),
        }
    }
}

fn masked(bytes: &[u8]) -> String {
    format!("[{} bytes]", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: [u8; 4] = [0xDE, 0xAD, 0xBE, 0xEF];

    fn mask() -> ApduMask {
        ApduMask::new(SecretInstructions::new([]))
    }

    /// A command with data and Le.
    fn command(class: u8, instruction: u8) -> Vec<u8> {
        [&[class, instruction, 0x00, 0x81, 4], &DATA[..], &[0]].concat()
    }

    /// The trace of a command with data and of a response with data.
    fn shown(mask: &mut ApduMask, command: &[u8], word: u16) -> (String, String) {
        (mask.command(command), mask.response(&[&DATA[..], &word.to_be_bytes()].concat()))
    }

    fn is_masked(mask: &mut ApduMask, class: u8, instruction: u8, word: u16) -> bool {
        let (command, response) = shown(mask, &command(class, instruction), word);
        assert_eq!(command.contains("DEADBEEF"), response.contains("DEADBEEF"), "{command} {response}");
        !command.contains("DEADBEEF")
    }

    #[test]
    fn header_lengths_and_status_word_are_shown_without_secrets() {
        let (command, response) = shown(&mut mask(), &command(0x00, 0x20), 0x63C2);
        assert_eq!((&*command, &*response), ("0020008104 [5 bytes]", "[4 bytes] 63C2"));
        let long = [&[0x00, 0x2A, 0x9E, 0x9A, 0, 1, 0][..], &[0x55; 256]].concat();
        assert_eq!(mask().command(&long), "002A9E9A00 [258 bytes]");
        assert_eq!(mask().command(&[0x00, 0x20, 0x00, 0x80]), "00200080");
        assert_eq!(mask().command(&[0x00, 0x88, 0x00, 0x00, 0x10]), "0088000010");
    }

    #[test]
    fn exchanges_without_secrets_are_shown_whole() {
        let (command, response) = shown(&mut mask(), &command(0x00, 0xA4), 0x9000);
        assert_eq!((&*command, &*response), ("00A4008104DEADBEEF00", "DEADBEEF 9000"));
        assert_eq!(mask().response(&[0x6A, 0x82]), "6A82");
    }

    #[test]
    fn every_instruction_of_the_list_is_masked_in_every_class() {
        let pins = (0..=u8::MAX).filter(|instruction| presents_pin(*instruction));
        for instruction in SECRET_INSTRUCTIONS.iter().copied().chain(pins) {
            for class in [0x00, 0x03, 0x10, 0x40, 0x80, 0x90, 0xA0, 0xB0, 0xFF] {
                assert!(is_masked(&mut mask(), class, instruction, 0x9000), "{class:02X} {instruction:02X}");
            }
        }
        for instruction in [0x22, 0x46, 0x47, 0x84, 0xA4, 0xB0, 0xB2, 0xC0, 0xCA, 0xCB] {
            assert!(!is_masked(&mut mask(), 0x00, instruction, 0x9000), "{instruction:02X}");
        }
    }

    #[test]
    fn secure_messaging_is_masked_for_every_instruction() {
        for class in [0x04, 0x08, 0x0C, 0x1C, 0x60, 0x6F, 0x84, 0x8C, 0x94, 0xE0] {
            assert!(is_masked(&mut mask(), class, 0xCA, 0x9000), "{class:02X}");
        }
        for class in [0x00, 0x03, 0x10, 0x40, 0x4F, 0x80, 0x90, 0xA0, 0xC0] {
            assert!(!is_masked(&mut mask(), class, 0xCA, 0x9000), "{class:02X}");
        }
    }

    #[test]
    fn reader_commands_are_masked_except_get_data() {
        for instruction in 0..=u8::MAX {
            assert_eq!(is_masked(&mut mask(), 0xFF, instruction, 0x9000), instruction != 0xCA, "{instruction:02X}");
        }
    }

    #[test]
    fn the_rest_of_a_masked_response_is_masked() {
        for fetch in [0xC0, 0xA5] {
            let mut mask = mask();
            assert!(is_masked(&mut mask, 0x00, 0x2A, 0x6104));
            assert!(is_masked(&mut mask, 0x00, fetch, 0x6104));
            assert!(is_masked(&mut mask, 0x00, fetch, 0x9000));
            assert!(!is_masked(&mut mask, 0x00, fetch, 0x9000));
        }
        let mut mask = mask();
        assert!(!is_masked(&mut mask, 0x00, 0xA4, 0x6104));
        assert!(!is_masked(&mut mask, 0x00, 0xC0, 0x9000), "the exchange before it was shown");
    }

    #[test]
    fn the_rest_stays_masked_after_a_refused_fetch() {
        // On T=0 with class 80, the broker fetches in class 00 and, if the card refuses that class, again in class 80.
        for (word, class) in
            [(0x6C04, 0x00), (0x6E00, 0x80), (0x6D00, 0x80), (0x6700, 0x00), (0x6985, 0x00), (0x6A86, 0x00)]
        {
            let mut mask = mask();
            assert!(is_masked(&mut mask, 0x80, 0x2A, 0x6104));
            assert_eq!(
                (mask.command(&[0x00, 0xC0, 0, 0, 0]), mask.response(&u16::to_be_bytes(word))),
                ("00C0000000".into(), format!("{word:04X}"))
            );
            assert!(is_masked(&mut mask, class, 0xC0, 0x9000), "{word:04X}");
            assert!(!is_masked(&mut mask, class, 0xC0, 0x9000), "{word:04X}: it was fetched");
        }
        let mut mask = mask();
        assert!(is_masked(&mut mask, 0x00, 0x20, 0x6D00));
        assert!(!is_masked(&mut mask, 0x00, 0xCA, 0x9000), "nothing was left to fetch");
    }

    #[test]
    fn every_link_of_a_masked_chain_is_masked() {
        let mut mask = mask();
        assert!(is_masked(&mut mask, 0x10, 0xDB, 0x9000));
        assert!(is_masked(&mut mask, 0x00, 0xCB, 0x9000));
        assert!(!is_masked(&mut mask, 0x00, 0xCB, 0x9000));
    }

    #[test]
    fn bytes_that_are_no_apdu_and_their_continuation_are_masked() {
        for unreadable in [&[0x00, 0xA4][..], b"\x00\xA4\x04\x00\x09\xDE\xAD\xBE\xEF", b"\x00\xB0\x00\x00\x00\x00"] {
            let mut mask = mask();
            let shown = (mask.command(unreadable), mask.response(&[0xDE, 0xAD, 0xBE, 0xEF, 0x90, 0x00]));
            assert_eq!(shown, (format!("[{} bytes]", unreadable.len()), "[4 bytes] 9000".into()));
            assert!(is_masked(&mut mask, 0x00, 0xA4, 0x9000));
            assert!(!is_masked(&mut mask, 0x00, 0xA4, 0x9000));
        }
    }

    #[test]
    fn the_configuration_adds_instructions() {
        let mut mask = ApduMask::new(SecretInstructions::new([0xB0]));
        assert!(is_masked(&mut mask, 0x00, 0xB0, 0x9000) && is_masked(&mut mask, 0x00, 0x20, 0x9000));
    }
}
