//! An open session: reads the client's messages as far as the pipeline has room, and returns the answers.

use std::time::Instant;

use cardbroker_core::error::Failure;
use cardbroker_proto::v1::{OpenSessionRequest, open_session_request::Request, open_session_response::Response};
use tonic::Streaming;
use tracing::Span;

use super::{
    Settings, gone,
    messages::{reset_kind, response},
};
use crate::{
    grpc::convert::unit_commands,
    reader::{pipeline::Pipeline, spans},
};

/// An open session and the state of its client's messages.
pub(super) struct Open {
    pipeline: Pipeline,
    /// The id of the latest message; 0 before the first.
    last_id: i64,
    /// Whether the client has ended its messages normally.
    half_closed: bool,
}

impl Open {
    /// Creates the state of a session without messages so far.
    pub(super) fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, last_id: 0, half_closed: false }
    }

    /// Ends the session now, as [`Pipeline::abandon`] does.
    pub(super) fn abandon(&mut self, failure: &Failure) {
        self.pipeline.abandon(failure, Instant::now());
    }

    /// Ends the session normally, as [`Pipeline::close`] does.
    pub(super) fn close(self) -> impl Future<Output = ()> + Send + use<> {
        self.pipeline.close()
    }

    /// Returns the next answer; `None` when the client has half-closed and every message is answered. Cancel-safe.
    ///
    /// # Errors
    /// The failure that ended the session, once every message is answered; or the client has disconnected.
    pub(super) async fn next(
        &mut self,
        inbound: &mut Streaming<OpenSessionRequest>,
        settings: &Settings,
        reader: &str,
    ) -> Result<Option<Response>, Failure> {
        loop {
            if self.half_closed && self.pipeline.is_idle() {
                return Ok(None);
            }
            let may_read = !self.half_closed && self.pipeline.has_room();
            tokio::select! {
                biased;
                item = self.pipeline.next() => return item.map(|item| Some(response(item, reader))),
                message = inbound.message(), if may_read => match message {
                    Ok(Some(message)) => {
                        if let Err(mistake) = self.take_in(message) {
                            self.pipeline.end(mistake);
                        }
                    }
                    // The decoder reports a reset stream as the end of its messages.
                    Ok(None) if settings.body_failure.is_lost() => return Err(gone()),
                    Ok(None) => self.half_closed = true,
                    Err(_) => match settings.body_failure.get() {
                        Some(failure) => self.pipeline.end(failure),
                        None => return Err(gone()),
                    },
                },
            }
        }
    }

    /// Accepts a message. A mistake in its commands is answered in the message's turn.
    ///
    /// # Errors
    /// A mistake in the conversation itself, which ends the session.
    fn take_in(&mut self, message: OpenSessionRequest) -> Result<(), Failure> {
        let restart = message.restart;
        match message.request {
            Some(Request::Transmit(transmit)) => {
                let unit = spans::unit(&Span::current());
                self.check_id("transmit.id", transmit.id)?;
                let commands = unit_commands("transmit.commands", transmit.commands);
                unit.in_scope(|| self.pipeline.transmit(transmit.id, commands, restart, Instant::now()));
            }
            Some(Request::Reset(reset)) => {
                self.check_id("reset.id", reset.id)?;
                self.pipeline.reset(reset.id, reset_kind(reset.reset), restart);
            }
            // A heartbeat does not count as activity of the session.
            Some(Request::Heartbeat(_)) => {}
            Some(Request::Open(_)) => {
                return Err(Failure::invalid("open", "the session is open already: send open only once"));
            }
            None => return Err(Failure::invalid("request", "the message has no request: set one")),
        }
        Ok(())
    }

    fn check_id(&mut self, field: &str, id: i64) -> Result<(), Failure> {
        if id <= self.last_id {
            return Err(Failure::invalid(field, format!("{id} is not greater than the id before it, or than 0")));
        }
        self.last_id = id;
        Ok(())
    }
}
