//! The trace context of a request, which links what the broker records to what its client has recorded elsewhere.

use std::sync::Arc;

/// The lengths of the fields: version, trace id, parent id and flags.
const FIELDS: [usize; 4] = [2, 32, 16, 2];

/// Returns the trace context of the metadata `traceparent` (W3C Trace Context §3.2), exactly 55 characters. Anything
/// else is `None`: a request is not refused for it, and no other text of a client gets into a record.
pub fn traceparent(text: &str) -> Option<Arc<str>> {
    let mut fields = text.split('-');
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = |length: usize| fields.next().is_some_and(|field| field.len() == length && field.bytes().all(is_digit));
    if !FIELDS.into_iter().all(fits) || fields.next().is_some() {
        return None;
    }
    let is_zero = |range: std::ops::Range<usize>| text.get(range).is_none_or(|id| id.bytes().all(|byte| byte == b'0'));
    let is_void = text.starts_with("ff") || is_zero(3..35) || is_zero(36..52);
    (!is_void).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_standard_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!((good.len(), traceparent(good).as_deref()), (55, Some(good)));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47\n6-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
    }
}
