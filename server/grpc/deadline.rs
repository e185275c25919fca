//! The time to answer a call with a gRPC deadline: before the client's own library ends the call without an answer.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

const SMALLEST_MARGIN: Duration = Duration::from_millis(20);
const MARGIN_DIVISOR: u32 = 20;

/// Returns when the answer must leave: 20 ms or 5 % before the deadline, whichever is more. `None` without a deadline.
pub(super) fn give_up(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = parse(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    let margin = SMALLEST_MARGIN.max(timeout / MARGIN_DIVISOR);
    Instant::now().checked_add(timeout.saturating_sub(margin))
}

/// Parses a `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_parsed_in_all_units_and_invalid_ones_ignored() {
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse("1500000u"), Some(Duration::from_millis(1500)));
        for nonsense in ["", "S", "5", "-1S", "+1S", "123456789S", "1x", "1é"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
