//! A request's body that is read only within its user's budget and its time.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use cardbroker_core::{
    budget::fields::{Fields, MAX_FIELDS},
    caller::Principal,
    error::{Failure, Reason},
};
use cardbroker_proto::{MAX_COMMANDS, MAX_MESSAGE_BYTES};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body};

use super::{
    budget::{Budgets, Entitlement, Reservation},
    framing::{Framing, Part, Progress},
    queue_full,
    shape::RequestShape,
};
use crate::{
    grpc::{
        status::to_status,
        tonic_errors::{NO_MESSAGE, TOO_LONG},
    },
    listen::MessageBytes,
};

/// The time for a request, or for one message of a stream, in which the broker waits for the rest of it.
const SEND_TIME: Duration = Duration::from_secs(10);

/// Why the body of a call was not read to its end. In the extensions of every request; clones belong to the same call.
#[derive(Debug, Clone, Default)]
pub(in crate::grpc) struct BodyFailure(Arc<OnceLock<Option<Failure>>>);

impl BodyFailure {
    /// Returns why a message could not be read; `None` if the client has reset the stream or the connection was lost.
    pub(in crate::grpc) fn get(&self) -> Option<Failure> {
        match self.0.get() {
            Some(end) => end.clone(),
            // The body is valid, so the decoder has failed.
            None => Some(Failure::not_sent(Reason::InvalidRequest, NO_MESSAGE)),
        }
    }

    /// Whether the client has reset the stream, or the connection was lost. tonic's decoder reports a stream that was
    /// reset with CANCEL as a normal end.
    pub(in crate::grpc) fn is_lost(&self) -> bool {
        matches!(self.0.get(), Some(None))
    }

    fn set(&self, end: Option<Failure>) {
        // The first failure counts.
        let _ = self.0.set(end);
    }
}

/// The body of one request, metered. Created by the intake, owned by the request.
pub(super) struct MeteredBody {
    /// The client's bytes, not yet metered.
    body: Body,
    /// The boundaries of the messages in the bytes so far.
    framing: Framing,
    /// The shape of the messages.
    shape: RequestShape,
    /// The fields of the current message.
    fields: Option<Fields>,
    /// Whether the client may send messages at any time. Otherwise the whole body must come in time.
    streams: bool,
    /// The principal whose budget the bytes take.
    user: Principal,
    /// The user's class when the call began, which determines the budget.
    entitlement: Entitlement,
    /// The amounts in use by all users, shared by all calls.
    budgets: Budgets,
    /// The reserved bytes of the current message; `None` between messages. A body that is no stream keeps its
    /// reservation until it is dropped.
    reservation: Option<Reservation>,
    /// The remaining time for the current message, or for the body; `None` between the messages of a stream.
    time_left: Option<Duration>,
    /// The wait for more bytes; `None` while bytes are available.
    wait: Option<Wait>,
    /// Counts the bytes for the pace of the connection.
    counter: MessageBytes,
    /// Why the body was not read to its end. Written here; the call's handler has a clone and reads it.
    failure: BodyFailure,
}

/// A wait for bytes of the client.
struct Wait {
    /// When the wait began. Its length is taken from `time_left` at the next poll.
    since: Instant,
    /// Wakes the reader when the time is over.
    _timer: Pin<Box<Sleep>>,
    /// The end of the wait, recorded by the waker that the inner body got.
    arrival: Arc<Arrival>,
}

/// Records when the client has sent something: the reader of the body may poll much later.
struct Arrival {
    /// When the wait ended by bytes, or by the end of the body; empty before.
    time: OnceLock<Instant>,
    /// The waker of the task that reads the body.
    reader: Waker,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        let _ = self.time.set(Instant::now());
        self.reader.wake_by_ref();
    }
}

impl MeteredBody {
    pub(super) fn new(
        body: Body,
        streams: bool,
        user: Principal,
        entitlement: Entitlement,
        budgets: Budgets,
        failure: BodyFailure,
    ) -> Self {
        Self {
            body,
            framing: Framing::default(),
            shape: RequestShape::FLAT,
            fields: None,
            streams,
            user,
            entitlement,
            budgets,
            reservation: None,
            time_left: (!streams).then_some(SEND_TIME),
            wait: None,
            counter: MessageBytes::default(),
            failure,
        }
    }

    /// The same body, whose messages have this shape.
    pub(super) fn with_shape(self, shape: RequestShape) -> Self {
        Self { shape, ..self }
    }

    /// Counts the bytes of all messages in `counter`, too.
    pub(super) fn counted_in(self, counter: MessageBytes) -> Self {
        Self { counter, ..self }
    }

    /// Accounts for the next bytes, before memory is reserved for the message that they announce.
    fn account(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.counter.add(bytes.len());
        let RequestShape { fields: shape, commands } = self.shape;
        let (fields, mut too_many) = (&mut self.fields, false);
        let progress = self.framing.take(bytes, |part| match part {
            Part::Begin(length) => *fields = Some(Fields::new(shape, length as u64)),
            Part::Bytes(bytes) => {
                too_many = too_many || fields.as_mut().is_some_and(|fields| fields.take(bytes).is_err());
            }
        });
        if too_many {
            return Err(too_many_fields(commands));
        }
        match progress {
            Progress::Complete if self.streams => (self.reservation, self.time_left) = (None, None),
            Progress::Complete => {}
            Progress::Unfinished { announced, is_new } => {
                if self.streams && is_new {
                    (self.reservation, self.time_left) = (None, Some(SEND_TIME));
                }
                self.reserve(announced)?;
            }
        }
        Ok(())
    }

    fn reserve(&mut self, announced: usize) -> Result<(), Failure> {
        if announced > MAX_MESSAGE_BYTES {
            return Err(Failure::not_sent(Reason::InvalidRequest, TOO_LONG));
        }
        let held = self.reservation.as_ref().map_or(0, Reservation::bytes);
        if announced > held {
            self.reservation = None;
            let room = self.budgets.request(&self.user, self.entitlement, announced);
            self.reservation =
                Some(room.ok_or_else(|| queue_full("the user has too many unfinished requests: retry later"))?);
        }
        Ok(())
    }

    /// Reads more bytes, and measures how long the client keeps the broker waiting.
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Some(wait) = self.wait.take() {
            let until = wait.arrival.time.get().copied().unwrap_or_else(Instant::now);
            self.time_left =
                self.time_left.map(|left| left.saturating_sub(until.saturating_duration_since(wait.since)));
        }
        let (Poll::Pending, Some(left)) = (&polled, self.time_left) else { return polled };
        let arrival = Arc::new(Arrival { time: OnceLock::new(), reader: context.waker().clone() });
        let polled = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&Waker::from(Arc::clone(&arrival))));
        if polled.is_ready() {
            return polled;
        }
        let mut timer = Box::pin(sleep(left));
        if left.is_zero() || timer.as_mut().poll(context).is_ready() {
            let late = queue_full("the request did not arrive within 10 s: send it again");
            return Poll::Ready(Some(Err(self.fail(late))));
        }
        self.wait = Some(Wait { since: Instant::now(), _timer: timer, arrival });
        Poll::Pending
    }

    fn fail(&self, failure: Failure) -> Status {
        let status = to_status(&failure, None);
        self.failure.set(Some(failure));
        status
    }
}

/// The failure of a message with too many fields. They are in `commands`, if it has such a field.
fn too_many_fields(commands: Option<&'static str>) -> Failure {
    match commands {
        Some(field) => Failure::invalid(
            field,
            format!("more than {MAX_FIELDS} fields: at most {MAX_COMMANDS} commands fit into one unit"),
        ),
        None => Failure::not_sent(Reason::InvalidRequest, format!("the request has more than {MAX_FIELDS} fields")),
    }
}

impl HttpBody for MeteredBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let this = self.get_mut();
        match this.poll_inner(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let accounted = frame.data_ref().map_or(Ok(()), |bytes| this.account(bytes));
                Poll::Ready(Some(accounted.map(|()| frame).map_err(|failure| this.fail(failure))))
            }
            Poll::Ready(Some(Err(status))) => {
                // The broker's own failure was set before.
                this.failure.set(None);
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                // hyper reports a reset with NO_ERROR as a normal end.
                if this.streams && !this.body.is_end_stream() {
                    this.failure.set(None);
                }
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
