//! The identification of the simulated card: its answer to reset and its file control information.

use crate::slot::Protocol;

/// The answer to reset (ISO 7816-3 §8), the serial number in its historical bytes.
pub(super) fn atr(protocol: Protocol, serial: u32) -> Vec<u8> {
    // Category 80, then a compact TLV object "pre-issuing data" of six bytes.
    let mut historical = vec![0x80, 0x66, b'C', b'B'];
    historical.extend(serial.to_be_bytes());
    let count = historical.len() as u8;
    if protocol == Protocol::T0 {
        return [&[0x3B, count][..], &historical].concat();
    }
    let checked = [&[0x80 | count, 0x01][..], &historical].concat();
    let check = checked.iter().fold(0, |sum, byte| sum ^ byte);
    [&[0x3B][..], &checked, &[check]].concat()
}

/// The file control information, 19 bytes: the application's name and, as discretionary data, "CB", 1 and the serial
/// number.
pub(super) fn fci(aid: &[u8; 6], serial: u32) -> Vec<u8> {
    let mut fci = vec![0x6F, 17, 0x84, 6];
    fci.extend(aid);
    fci.extend([0x53, 7, b'C', b'B', 1]);
    fci.extend(serial.to_be_bytes());
    fci
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_t1_atr_has_a_check_byte() {
        let t1 = atr(Protocol::T1, 0x0102_0304);
        assert_eq!(t1[..3], [0x3B, 0x88, 0x01]);
        assert_eq!(t1[1..].iter().fold(0, |sum, byte| sum ^ byte), 0);
        let t0 = atr(Protocol::T0, 0x0102_0304);
        assert_eq!((t0[..2].to_vec(), t0.len()), (vec![0x3B, 0x08], 10));
    }

    #[test]
    fn the_fci_has_19_bytes_and_the_serial_number() {
        assert_eq!(fci(&[1; 6], 7).len(), 19);
        assert_ne!(fci(&[1; 6], 7), fci(&[1; 6], 8));
    }
}
