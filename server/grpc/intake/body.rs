//! A request's body that is read only as far as its user's budget and its time reach.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cardbroker_proto::{MAX_MESSAGE_BYTES, reason::REASON_TRAILER};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Status, body::Body};

use super::{
    budget::{Budgets, Reservation, Standing},
    framing::{Framing, Progress},
};
use crate::{
    caller::Principal,
    error::{Failure, Reason},
    grpc::status::{to_status, wire_reason},
};

/// How long a request, or a message of a stream, may take from its first byte to its last one.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The body of one request.
pub(super) struct MeteredBody {
    body: Body,
    framing: Framing,
    /// Whether the client may send messages for as long as it likes. Otherwise the body must end in time.
    streams: bool,
    user: Principal,
    standing: Standing,
    budgets: Budgets,
    /// What the message under way takes of the budget.
    reservation: Option<Reservation>,
    /// When the message under way, or the body, must have come; `None` between the messages of a stream.
    deadline: Option<Instant>,
    /// Runs only while the client is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MeteredBody {
    pub(super) fn new(body: Body, streams: bool, user: Principal, standing: Standing, budgets: Budgets) -> Self {
        let deadline = (!streams).then(|| Instant::now() + BODY_TIME);
        let framing = Framing::default();
        Self { body, framing, streams, user, standing, budgets, reservation: None, deadline, timer: None }
    }

    /// Takes account of the next bytes, before anything is reserved for the message that they announce.
    fn account(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let was_unfinished = self.framing.progress() != Progress::Complete;
        match self.framing.take(bytes) {
            Progress::Complete => {
                self.reservation = None;
                if self.streams {
                    (self.deadline, self.timer) = (None, None);
                }
                Ok(())
            }
            Progress::Unfinished { announced } => {
                if self.streams && (self.deadline.is_none() || !was_unfinished) {
                    (self.deadline, self.timer) = (Some(Instant::now() + BODY_TIME), None);
                }
                self.reserve(announced)
            }
        }
    }

    fn reserve(&mut self, announced: usize) -> Result<(), Failure> {
        // What is too long for any request is refused behind us, and nothing is reserved for it.
        if announced > MAX_MESSAGE_BYTES || self.reservation.as_ref().is_some_and(|held| held.bytes() == announced) {
            return Ok(());
        }
        self.reservation = None;
        self.reservation = self.budgets.reserve(&self.user, self.standing, announced);
        let is_reserved = self.reservation.is_some();
        is_reserved.then_some(()).ok_or_else(|| refused("the user has too many unfinished requests: retry later"))
    }

    /// Whether the client has had its time. Registers for the moment when it has.
    fn poll_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for MeteredBody {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let accounted = frame.data_ref().map_or(Ok(()), |bytes| this.account(bytes));
                Poll::Ready(Some(accounted.map(|()| frame).map_err(|failure| to_status(&failure, None))))
            }
            Poll::Pending if this.poll_late(context) => {
                let late = refused("the request was not complete after 10 s: send it again");
                Poll::Ready(Some(Err(to_status(&late, None))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that takes more than it may.
pub(super) fn refused(message: &'static str) -> Failure {
    Failure::not_sent(Reason::QueueFull, message)
}

/// Returns the failure behind a status with which a body was refused here; `None` if the client has ended it.
pub(in crate::grpc) fn refusal(status: &Status) -> Option<Failure> {
    let reason = status.metadata().get(REASON_TRAILER)?;
    let is_ours = reason.as_bytes() == wire_reason(Reason::QueueFull).short_name().as_bytes();
    is_ours.then(|| Failure::not_sent(Reason::QueueFull, status.message().to_owned()))
}
