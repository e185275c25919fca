//! The signature key of the card and the data objects that GnuPG reads (OpenPGP card 3.4 §4.4 and §7.2), on Ed25519.

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};

use super::application::{NAME, Tries};

const OK: u16 = 0x9000;
const NOT_SATISFIED: u16 = 0x6982;
const NOT_FOUND: u16 = 0x6A88;

/// An algorithm attribute: EdDSA (16) and the OID of the curve.
const ED25519: &[u8] = b"\x16\x2B\x06\x01\x04\x01\xDA\x47\x0F\x01";
/// An algorithm attribute: ECDH (12) and the OID of the curve.
const CURVE25519: &[u8] = b"\x12\x2B\x06\x01\x04\x01\x97\x55\x01\x05\x01";
/// Historical bytes: command chaining, and no extended length.
const HISTORICAL: &[u8] = b"\x00\x31\xC5\x73\xC0\x01\x80\x05\x90\x00";
/// Extended capabilities: the status of PW1 can be changed, and 255 bytes of special objects.
const CAPABILITIES: &[u8] = b"\x10\x00\x00\x00\x00\x00\x00\xFF\x00\x00";
/// The longest value of each PIN.
const PIN_BYTES: [u8; 3] = [0x40; 3];

/// The key, and the number of its signatures.
pub(super) struct Signer {
    key: KeyPair,
    signatures: u32,
}

impl Signer {
    /// Creates a signer with a new key.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { key: KeyPair::generate_for(&PKCS_ED25519)?, signatures: 0 })
    }

    /// The answer to a command of the key or the data objects; `None` for another one.
    pub(super) fn answer(
        &mut self,
        instruction: u8,
        parameters: [u8; 2],
        data: &[u8],
        pin: (Tries, bool),
    ) -> Option<(Vec<u8>, u16)> {
        let (tries, is_verified) = pin;
        let found = match (instruction, parameters) {
            (0xCA, tag) => self.data_object(tag, tries),
            // The public key of the signature key; there is no other one.
            (0x47, [0x81, 0]) if data.starts_with(&[0xB6]) => {
                Some(object(&[0x7F, 0x49], &object(&[0x86], self.key.der_bytes())))
            }
            (0x47, [0x81, 0]) => None,
            (0x2A, [0x9E, 0x9A]) if !is_verified => return Some((Vec::new(), NOT_SATISFIED)),
            (0x2A, [0x9E, 0x9A]) => {
                self.signatures += 1;
                self.key.sign(data).ok()
            }
            _ => return None,
        };
        Some(found.map_or((Vec::new(), NOT_FOUND), |found| (found, OK)))
    }

    fn data_object(&self, tag: [u8; 2], tries: Tries) -> Option<Vec<u8>> {
        // PW1 is valid for several signatures.
        let status = [&[1], &PIN_BYTES[..], &[tries.pw1, tries.code, tries.pw3]].concat();
        Some(match tag {
            [0, 0x4F] => NAME.to_vec(),
            [0x5F, 0x52] => HISTORICAL.to_vec(),
            [0, 0xC4] => status,
            [0, 0x65] => {
                [object(&[0x5B], b"Doe<<Jane"), object(&[0x5F, 0x2D], b"en"), object(&[0x5F, 0x35], b"9")].concat()
            }
            // The login name and the address of the public key. GnuPG does not go on without them.
            [0, 0x5E] | [0x5F, 0x50] => Vec::new(),
            [0, 0x7A] => object(&[0x93], &self.signatures.to_be_bytes()[1..]),
            [0, 0x6E] => {
                let parts: [(u8, &[u8]); 8] = [
                    (0xC0, CAPABILITIES),
                    (0xC1, ED25519),
                    (0xC2, CURVE25519),
                    (0xC3, ED25519),
                    (0xC4, &status),
                    (0xC5, &[0; 60]),
                    (0xC6, &[0; 60]),
                    (0xCD, &[0; 12]),
                ];
                let parts: Vec<u8> = parts.iter().flat_map(|(tag, value)| object(&[*tag], value)).collect();
                [object(&[0x4F], NAME), object(&[0x5F, 0x52], HISTORICAL), object(&[0x73], &parts)].concat()
            }
            _ => return None,
        })
    }
}

/// A data object (BER-TLV) of at most 255 bytes.
fn object(tag: &[u8], value: &[u8]) -> Vec<u8> {
    let length = value.len() as u8;
    let length: &[u8] = if length < 0x80 { &[length] } else { &[0x81, length] };
    [tag, length, value].concat()
}
