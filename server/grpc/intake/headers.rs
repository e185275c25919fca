//! The limit on the length of a request's headers.

use cardbroker_core::error::{Failure, Reason};
use http::{HeaderMap, Uri};

/// Maximum header bytes of one request, as HTTP/2 counts them.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The overhead of a field, which HTTP/2 adds to its name and value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// The pseudo-header fields: `:method POST`, `:scheme http`, and the names of `:authority` and `:path`.
const PSEUDO_BYTES: usize = 11 + 11 + 10 + 5 + 4 * FIELD_OVERHEAD_BYTES;

/// Checks the length of a request's headers.
///
/// # Errors
/// [`Reason::InvalidRequest`] if they are too long.
pub(super) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES);
    let target = uri.authority().map_or(0, |name| name.as_str().len())
        + uri.path_and_query().map_or(0, |target| target.as_str().len());
    if PSEUDO_BYTES + target + fields.sum::<usize>() <= MAX_HEADER_BYTES {
        return Ok(());
    }
    let message = "the headers of the request are longer than 16 KiB: send less metadata";
    Err(Failure::not_sent(Reason::InvalidRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_beyond_sixteen_kibibytes_are_refused() {
        let uri: Uri = "http://localhost/cardbroker.v1.CardBrokerService/Transmit".parse().unwrap();
        let with = |bytes: usize| {
            let headers = [("x-trace", "x".repeat(bytes))];
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            check(&uri, &headers).map_err(|failure| failure.reason)
        };
        assert_eq!(with(16_000), Ok(()));
        assert_eq!(with(16_384), Err(Reason::InvalidRequest));
    }
}
