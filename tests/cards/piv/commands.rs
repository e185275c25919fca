//! The commands of a PIV card (NIST SP 800-73-4, part 2) that stories about PINs and keys need.

use anyhow::{Context, ensure};
use des::{
    TdesEde3,
    cipher::{BlockEncrypt, KeyInit},
};

/// The PIN of a new card.
pub const PIN: &str = "123456";

/// The management key (9B) of a new card, for Triple DES.
const MANAGEMENT_KEY: &[u8; 24] = &[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// Builds a SELECT of the PIV application.
pub fn select() -> Vec<u8> {
    b"\x00\xA4\x04\x00\x09\xA0\x00\x00\x03\x08\x00\x00\x10\x00\x00".to_vec()
}

/// Builds a VERIFY of the PIN, of at most eight digits; a longer PIN is cut.
pub fn verify(pin: &str) -> Vec<u8> {
    let mut command = vec![0x00, 0x20, 0x00, 0x80, 8];
    command.extend(pin.bytes().chain([0xFF; 8]).take(8));
    command
}

/// Builds a GENERAL AUTHENTICATE that signs a SHA-256 hash with the authentication key (9A, on P-256). It needs the
/// PIN: `6982` without.
pub fn sign(hash: &[u8; 32]) -> Vec<u8> {
    general_authenticate(0x11, 0x9A, &[&[0x82, 0, 0x81, 32][..], hash].concat())
}

/// Generates the authentication key, authenticated by the management key. Returns its point.
///
/// # Errors
/// The card refuses a command.
pub(super) fn personalize(transmit: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut transmit = |command: &[u8]| {
        let mut answer = transmit(command);
        let status = answer.split_off(answer.len().saturating_sub(2));
        ensure!(status == [0x90, 0x00], "the card refuses to be personalized: {status:02X?}");
        Ok(answer)
    };
    transmit(&select())?;
    let challenge = transmit(&general_authenticate(0x03, 0x9B, &[0x81, 0]))?;
    let mut block = *challenge.last_chunk::<8>().context("no challenge")?;
    TdesEde3::new(MANAGEMENT_KEY.into()).encrypt_block((&mut block).into());
    transmit(&general_authenticate(0x03, 0x9B, &[&[0x82, 8][..], &block].concat()))?;
    let key = transmit(&[0x00, 0x47, 0x00, 0x9A, 5, 0xAC, 3, 0x80, 1, 0x11, 0x00])?;
    // 7F49 43 86 41 and the point.
    Ok(key.last_chunk::<65>().context("no key")?.to_vec())
}

/// GENERAL AUTHENTICATE with a dynamic authentication template of at most 127 bytes.
fn general_authenticate(algorithm: u8, key: u8, template: &[u8]) -> Vec<u8> {
    let length = template.len() as u8;
    [&[0x00, 0x87, algorithm, key, length + 2, 0x7C, length], template, &[0x00]].concat()
}
