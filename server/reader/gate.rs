//! The gate before the card: may this APDU be sent now? Asked between APDUs, after the answers so far and before the next one
//! leaves, so nothing that ended in the meantime can slip through. Command policy and the PIN guard take their place here.

use super::lease::Lease;
use crate::error::{Failure, Reason};

/// Lets one APDU pass.
///
/// # Errors
/// [`Reason::LeaseEnded`], not sent, if the holder's turn was taken away.
pub(super) fn admit(lease: &Lease) -> Result<(), Failure> {
    if lease.is_valid() {
        return Ok(());
    }
    Err(Failure::not_sent(
        Reason::LeaseEnded,
        "the turn was taken away before the command was sent: send the rest again",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Delivery, reader::lease::Leases};

    #[test]
    fn nothing_passes_once_the_lease_has_ended() {
        let mut leases = Leases::default();
        let lease = leases.grant();
        assert_eq!(admit(&lease), Ok(()));
        leases.end();
        let refused = admit(&lease).unwrap_err();
        assert_eq!((refused.reason, refused.delivery), (Reason::LeaseEnded, Delivery::NotSent));
    }
}
