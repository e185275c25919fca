//! Admission: whether the caller of a request may see its reader, and whether policy allows what the request needs.

use std::sync::Arc;

use cardbroker_core::{
    card::unit::UnitRequest,
    error::{Failure, Reason},
    journal::Origin,
    policy::rule::Operation,
    turns::turn::{Disposition, TurnRequest},
};

use super::{Broker, RequestContext};
use crate::{
    policy::{
        access::{Access, Records},
        audit::SessionRecord,
    },
    reader::{ReaderHandle, session::SessionRequest},
    registry::ReaderView,
};

impl Broker {
    /// Returns the reader of this name, if the caller of the request `origin` may see it. A look at a reader that is
    /// hidden from the caller goes into the audit trail.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`], also if the caller may not see the reader.
    pub fn reader(&self, origin: Arc<Origin>, name: &str) -> Result<Arc<ReaderView>, Failure> {
        Ok(self.approach(name, origin, Operation::See, Vec::new())?.0)
    }

    /// Returns the reader of this name, if the caller of the request `origin` may see it, with the request's access to
    /// it for `operation` and the operations in `also`, which are not checked yet. A reader that the caller may not
    /// see behaves as if it did not exist.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`].
    pub(super) fn approach(
        &self,
        name: &str,
        origin: Arc<Origin>,
        operation: Operation,
        also: Vec<Operation>,
    ) -> Result<(Arc<ReaderView>, ReaderHandle, Access), Failure> {
        let view = self.readers.view.borrow().get(name).cloned().ok_or_else(not_found)?;
        let handle = self.readers.routes.borrow().get(name).cloned().ok_or_else(not_found)?;
        let records = Records { trail: self.trail.clone(), journal: handle.journal().clone() };
        let access = Access::new(self.policy.subscribe(), records, origin, Arc::clone(&view.names), operation, also);
        access.check(Operation::See).map_err(|_| not_found())?;
        Ok((view, handle, access))
    }

    /// Admits a unit, with all its commands.
    pub(super) fn admit_unit(
        &self,
        context: &RequestContext<'_>,
        request: &UnitRequest,
    ) -> Result<(ReaderHandle, Access), Failure> {
        let resets = (request.disposition != Disposition::Leave).then_some(Operation::Reset);
        let (handle, access) = self.admit(context, Operation::Transmit, &request.turn, resets)?;
        access.check_commands(&request.commands)?;
        Ok((handle, access))
    }

    /// Admits a session with its disposition.
    pub(super) fn admit_session(
        &self,
        context: &RequestContext<'_>,
        request: &SessionRequest,
    ) -> Result<(ReaderHandle, Access), Failure> {
        // Both other dispositions reset the card, which needs no permission.
        let leaves = (request.disposition == Disposition::Leave).then_some(Operation::Leave);
        self.admit(context, Operation::Session, &request.turn, leaves)
    }

    /// Records in the audit trail that a PC/SC program has connected a handle to a reader that it may see.
    pub fn record_handle(&self, context: &RequestContext<'_>) {
        let group = context.group.number().map(|_| context.group.id());
        let origin = Arc::new(Origin { caller: context.caller.clone(), group, traceparent: None });
        if let Ok((_, _, access)) = self.approach(context.reader, origin, Operation::See, Vec::new()) {
            access.audit(SessionRecord::HandleConnected);
        }
    }

    /// Returns the reader, if the caller may see it and policy allows what the request needs.
    pub(super) fn admit(
        &self,
        context: &RequestContext<'_>,
        operation: Operation,
        turn: &TurnRequest,
        disposition: Option<Operation>,
    ) -> Result<(ReaderHandle, Access), Failure> {
        let resets = turn.reset_before.map(|_| Operation::Reset);
        let shares = context.group.is_shared().then_some(Operation::SharedGroup);
        let also = [resets, shares, disposition].into_iter().flatten().collect();
        let group = context.group.number().map(|_| context.group.id());
        let (caller, traceparent) = (context.caller.clone(), context.traceparent.clone());
        let origin = Arc::new(Origin { caller, group, traceparent });
        let (_, handle, access) = self.approach(context.reader, origin, operation, also)?;
        access.check_operations()?;
        Ok((handle, access))
    }
}

/// The failure of a request for a reader that does not exist, or that the caller may not see.
pub(crate) fn not_found() -> Failure {
    let message = "there is no reader of this name: list the readers to see their names";
    Failure::not_sent(Reason::ReaderNotFound, message)
}
