//! The instructions that carry secrets.

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

    /// Whether commands with this instruction, in any class, or their responses may carry a secret.
    pub fn contains(&self, instruction: u8) -> bool {
        self.0[usize::from(instruction)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standards_tokens_and_the_configuration_name_instructions() {
        let secrets = SecretInstructions::new([0xB0]);
        let pins = (0..=u8::MAX).filter(|instruction| presents_pin(*instruction));
        for instruction in SECRET_INSTRUCTIONS.iter().copied().chain(pins).chain([0xB0]) {
            assert!(secrets.contains(instruction), "{instruction:02X}");
        }
        for instruction in [0x22, 0x46, 0x47, 0x84, 0xA4, 0xB1, 0xB2, 0xC0, 0xCA, 0xCB] {
            assert!(!secrets.contains(instruction), "{instruction:02X}");
        }
        assert!(!SecretInstructions::new([]).contains(0xB0));
    }
}
