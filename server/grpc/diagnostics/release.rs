//! `Release`: an operator ends a turn.

use std::sync::Arc;

use cardbroker_core::{error::Failure, journal::Origin, turns::lease::LeaseNumber};
use cardbroker_proto::diagnostics::v1::{ReleaseOutcome, ReleaseRequest, ReleaseResponse};

use super::{
    Diagnostics,
    status::{driver_call, is_unprintable},
};
use crate::reader::snapshot::{Release, Released};

const MAX_REASON_CHARACTERS: usize = 200;
const MAX_LEASE_BYTES: usize = 64;

impl Diagnostics {
    /// Ends the turn that the request names, for the operator `by`.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`](cardbroker_core::error::Reason::InvalidRequest), and those of
    /// [`Broker::release`](crate::broker::Broker::release).
    pub(super) async fn release_turn(
        &self,
        by: Arc<Origin>,
        request: ReleaseRequest,
    ) -> Result<ReleaseResponse, Failure> {
        let ReleaseRequest { reader, lease, reason } = request;
        if reason.chars().count() > MAX_REASON_CHARACTERS || reason.chars().any(is_unprintable) {
            return Err(Failure::invalid("reason", "at most 200 printable characters"));
        }
        let is_short = (1..=MAX_LEASE_BYTES).contains(&lease.len());
        let invalid = || Failure::invalid("lease", "give the lease of the holder from the status");
        let (epoch, number) = lease.rsplit_once('-').filter(|_| is_short).ok_or_else(invalid)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| invalid())?;
        // No lease has the number 0, so one of another run of the broker has ended.
        let number = LeaseNumber(if *epoch == *self.broker.epoch() { number } else { 0 });
        let release = Release { lease: number, by, reason: reason.into() };
        Ok(match self.broker.release(&reader, release).await? {
            Released::Ended => ReleaseResponse { outcome: ReleaseOutcome::Released.into(), driver_call: None },
            Released::Pending(call) => {
                ReleaseResponse { outcome: ReleaseOutcome::Pending.into(), driver_call: Some(driver_call(&call)) }
            }
        })
    }
}
