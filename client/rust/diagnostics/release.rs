//! Ending the turn of a holder.

use cardbroker_proto::diagnostics::v1::{ReleaseRequest, ReleaseResponse};

use super::{Diagnostics, Stub};
use crate::{
    Error, ReaderName,
    query::{AfterLoss, in_time},
};

/// An order to end a turn; see [`Diagnostics::release`].
#[derive(Debug, Clone)]
#[must_use = "nothing is released before `send`"]
pub struct Release {
    diagnostics: Diagnostics,
    reader: ReaderName,
    lease: String,
    reason: String,
}

impl Release {
    pub(super) fn new(diagnostics: Diagnostics, reader: ReaderName, lease: String) -> Self {
        Self { diagnostics, reader, lease, reason: String::new() }
    }

    /// Sets why, for the audit trail and for other operators; at most 200 printable characters.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Ends the turn between two exchanges with the card. Its outcome is
    /// [`ReleaseOutcome::Pending`](super::ReleaseOutcome::Pending) while a call of the driver runs, which nothing
    /// interrupts.
    ///
    /// Not repeated after a lost connection: whether the turn was released is then unknown, and harmless to try again.
    ///
    /// # Errors
    /// [`Error::Failed`] with the reason [`ErrorReason::LeaseEnded`](crate::ErrorReason::LeaseEnded) if somebody else
    /// has the turn by now, or nobody; [`Error::NotRunning`] if no broker answers in time; [`Error::Invalid`] if no
    /// reader or several have the display name.
    pub async fn send(self) -> Result<ReleaseResponse, Error> {
        let reader = self.diagnostics.name(Some(self.reader)).await?;
        let request = ReleaseRequest { reader, lease: self.lease, reason: self.reason };
        let call = |mut stub: Stub, request| async move { stub.release(in_time(request)).await };
        self.diagnostics.call(request, AfterLoss::Fail, call).await
    }
}
