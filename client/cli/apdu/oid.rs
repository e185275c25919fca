//! Object identifiers (ISO/IEC 8825-1 §8.19) as numbers with dots.

/// The identifier of a value; `None` if it is malformed or longer than 16 numbers.
pub(super) fn read(value: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    let mut is_whole = true;
    for byte in value {
        number = number.checked_mul(0x80)? | u64::from(byte & 0x7F);
        is_whole = byte & 0x80 == 0;
        if is_whole {
            match numbers.is_empty() {
                // The first two numbers are one.
                true => numbers.extend([(number / 40).min(2), number - 40 * (number / 40).min(2)]),
                false => numbers.push(number),
            }
            number = 0;
        }
    }
    let is_read = is_whole && !numbers.is_empty() && numbers.len() <= 16;
    is_read.then(|| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_numbers_with_dots() {
        assert_eq!(read(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D]).as_deref(), Some("1.2.840.113549"));
        assert_eq!(read(&[0x88, 0x37, 0x03]).as_deref(), Some("2.999.3"));
        for malformed in [&[][..], &[0x2A, 0x86], &[0xFF; 12], &[0x01; 40]] {
            assert_eq!(read(malformed), None, "{malformed:?}");
        }
    }
}
