//! The task that owns a session's stream: sends the callers' messages and gives each caller its answer.

use std::sync::Arc;

use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, open_session_request::Request, open_session_response::Response,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tonic::{Status, Streaming};

use super::{
    MAX_PIPELINED,
    events::SessionStatus,
    outgoing::Outgoing,
    pipeline::{Outcome, Pipeline},
};
use crate::{Error, ErrorReason, Failure, incoming::Incoming, response::count, turn::CARD_TIME};

/// An order from the session's handle to its task.
pub(super) enum Order {
    Send(Call),
    /// Half-close, and go on until the broker has ended the stream.
    Close,
}

/// A message for the broker, without its id.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) known_failure_count: u64,
    /// The caller's decision about `restart`; `None` leaves it to the session.
    pub(super) restart: Option<bool>,
    pub(super) reply: oneshot::Sender<Reply>,
}

pub(super) struct Reply {
    /// [`Response::Transmitted`] or [`Response::ResetDone`] on success.
    pub(super) outcome: Result<Response, Error>,
    /// The number of failures that the receiver of this reply then knows of.
    pub(super) failure_count: u64,
}

pub(super) struct Conversation {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming<Streaming<OpenSessionResponse>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) status: Arc<SessionStatus>,
    pub(super) pipeline: Pipeline<oneshot::Sender<Reply>>,
}

impl Conversation {
    /// Runs until the end of the stream.
    ///
    /// # Errors
    /// The failure that every caller without an answer has got, unless the stream ended as requested.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let Err(status) = self.converse().await else { return Ok(()) };
        let error = Error::of_status(&status);
        let later = error.clone().not_sent();
        // Set before the orders are dropped, so that a caller that finds them closed finds the reason.
        self.status.end(later.clone());
        if self.pipeline.len() == 0 {
            return Err(later);
        }
        for waiter in self.pipeline.drain() {
            let _ = waiter.send(Reply { outcome: Err(error.clone()), failure_count: 0 });
        }
        Err(error)
    }

    async fn converse(&mut self) -> Result<(), Status> {
        let mut close_limit = None;
        loop {
            let closing = self.outgoing.is_half_closed();
            let nothing_left = closing && self.pipeline.len() == 0;
            // Set once: heartbeats do not postpone it.
            if nothing_left {
                close_limit.get_or_insert_with(|| Instant::now() + CARD_TIME);
            }
            let end = close_limit.unwrap_or_else(Instant::now);
            tokio::select! {
                // The broker's messages come first: a command that arrives after the end is not sent.
                biased;
                message = self.incoming.message() => match message? {
                    Some(message) => self.take(message)?,
                    None if nothing_left => return Ok(()),
                    None => return Err(Status::unavailable("the broker ended the session")),
                },
                order = self.orders.recv(), if !closing && self.pipeline.len() < MAX_PIPELINED => match order {
                    Some(Order::Send(call)) => self.send(call),
                    Some(Order::Close) => self.outgoing.half_close(),
                    None => return Ok(()),
                },
                () = sleep_until(end), if nothing_left => return Err(Status::deadline_exceeded("")),
            }
        }
    }

    fn send(&mut self, Call { mut request, known_failure_count, restart, reply }: Call) {
        let (next_id, restart) = self.pipeline.send(known_failure_count, restart, reply);
        match &mut request {
            Request::Transmit(transmit) => transmit.id = next_id,
            Request::Reset(reset) => reset.id = next_id,
            Request::Open(_) | Request::Heartbeat(_) => {}
        }
        self.outgoing.send(OpenSessionRequest { request: Some(request), restart });
    }

    fn take(&mut self, message: OpenSessionResponse) -> Result<(), Status> {
        match message.response {
            Some(Response::Waiters(waiters)) => {
                self.status.set_waiters(count(waiters.caller_count));
            }
            Some(Response::Failed(failed)) => {
                let failure = Failure::from(failed.failure.unwrap_or_default());
                let outcome = match failure.reason {
                    Some(ErrorReason::PrecedingFailed) => Outcome::PrecedingFailed,
                    _ => Outcome::Failed,
                };
                return self.answer(failed.id, outcome, Err(failure.into()));
            }
            Some(Response::Transmitted(transmitted)) => {
                return self.answer(transmitted.id, Outcome::Done, Ok(Response::Transmitted(transmitted)));
            }
            Some(Response::ResetDone(done)) => {
                return self.answer(done.id, Outcome::Done, Ok(Response::ResetDone(done)));
            }
            Some(Response::QueuePosition(_) | Response::Opened(_) | Response::Heartbeat(_)) | None => {}
        }
        Ok(())
    }

    fn answer(&mut self, id: i64, outcome: Outcome, reply: Result<Response, Error>) -> Result<(), Status> {
        let answered = self.pipeline.answer(id, outcome);
        let (waiter, failure_count) = answered.ok_or_else(|| Status::internal("the broker answered out of order"))?;
        // A caller that no longer waits needs no answer.
        let _ = waiter.send(Reply { outcome: reply, failure_count });
        Ok(())
    }
}
