//! `SetLogFilter`: another filter of the log, for a time.

use std::{ops::RangeInclusive, time::Duration};

use cardbroker_core::{
    error::{Failure, Reason},
    journal::Origin,
    policy::rule::Operation,
};
use cardbroker_proto::diagnostics::v1::{SetLogFilterRequest, SetLogFilterResponse};

use super::Diagnostics;
use crate::grpc::{convert::duration_in, wall_clock::timestamp};

const TIME_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

impl Diagnostics {
    /// Puts the filter of the request `origin` in force.
    ///
    /// # Errors
    /// [`Reason::Denied`] without the permission, [`Reason::InvalidRequest`] for a filter or a time out of range.
    pub(super) fn change_log_filter(
        &self,
        origin: &Origin,
        request: &SetLogFilterRequest,
    ) -> Result<SetLogFilterResponse, Failure> {
        self.broker.check_everywhere(origin, Operation::Configure)?;
        // An absent duration is one of 0 s, which is out of range.
        let given = request.duration.unwrap_or_default();
        let time = duration_in(given, TIME_RANGE, "duration", "out of range: 1 s to 1 h")?;
        let no_log = || Failure::not_sent(Reason::NotImplemented, "this process has no log of its own");
        let log = self.facts.log.as_ref().ok_or_else(no_log)?;
        let until = log.change_for(&request.filter, time).map_err(|problem| Failure::invalid("filter", problem))?;
        self.broker.on_log_filter_changed(origin, &request.filter, time);
        Ok(SetLogFilterResponse { revert_time: Some(timestamp(until)) })
    }
}
