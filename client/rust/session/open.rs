//! Opening a session: its terms, and the wait for its turn.

use std::time::Duration;

use cardbroker_proto::v1::{OpenSessionResponse, SessionOpen, SessionOpened, open_session_response::Response};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{Session, outgoing::Outgoing};
use crate::{
    Client, Disposition, Error, ReaderName,
    incoming::{Incoming, SILENCE_LIMIT},
    repeat::ConnectRetry,
    response::{count, to_wire},
    turn::{CARD_TIME, Terms, turn_options},
};

/// A session before it is opened; see [`Client::open_session`].
#[must_use = "nothing is sent before `open`"]
pub struct OpenSession {
    client: Client,
    reader: ReaderName,
    terms: Terms,
    idle_timeout: Option<Duration>,
    disposition: Disposition,
    on_queue_position: Box<dyn FnMut(u32) + Send>,
}

impl OpenSession {
    pub(crate) fn new(client: Client, reader: ReaderName) -> Self {
        let disposition = Disposition::Unspecified;
        let on_queue_position = Box::new(|_| {});
        Self { client, reader, terms: Terms::default(), idle_timeout: None, disposition, on_queue_position }
    }

    turn_options!();

    /// Sets how long the session may idle while other requests wait, before the broker revokes it, 0.1 s–60 s. Default:
    /// 10 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Sets what happens to the card after [`Session::close`]. Default: it is reset, as it always is after a dropped
    /// session. [`Disposition::Leave`] needs the permission `leave`.
    pub fn disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// Calls `tell` with the number of turns before this one, an estimate, at once and after each change, until the
    /// session is open.
    pub fn on_queue_position(mut self, tell: impl FnMut(u32) + Send + 'static) -> Self {
        self.on_queue_position = Box::new(tell);
        self
    }

    /// Waits for the turn and takes the card. Must be called within a Tokio runtime, which then runs the session's
    /// task. While there is no broker, retries for up to [`connect_timeout`](crate::ConnectOptions::connect_timeout).
    ///
    /// Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Failed`] and [`Error::NotRunning`]; no command was sent.
    pub async fn open(mut self) -> Result<Session, Error> {
        let wait = self.terms.wait();
        let reader = self.reader.clone().resolve(&self.client).await?;
        let open = SessionOpen {
            reader,
            turn: self.terms.to_wire(),
            idle_timeout: self.idle_timeout.map(to_wire),
            disposition: self.disposition.into(),
        };
        let retry = ConnectRetry::of(self.client.connect_timeout());
        // Includes time for a reset of the card. A broker that is silent for longer is stuck.
        let limit = wait + CARD_TIME.max(wait / 8);
        loop {
            let error = match timeout(limit, self.attempt(open.clone())).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => error,
                Err(_) => Error::deadline_passed().not_sent(),
            };
            if !retry.pause(&error).await {
                return Err(error);
            }
        }
    }

    async fn attempt(&mut self, open: SessionOpen) -> Result<Session, Error> {
        let of_status = |status| Error::of_query(self.client.endpoint(), &status);
        let started = timeout(SILENCE_LIMIT, Outgoing::start(&self.client, open)).await;
        let (outgoing, incoming) = started.map_err(|_| of_status(Status::unavailable("the broker fell silent")))??;
        let mut incoming = Incoming::of(incoming);
        let opened = until_opened(&mut incoming, &mut self.on_queue_position).await.map_err(of_status)?;
        Ok(Session::of(outgoing, incoming, opened))
    }
}

async fn until_opened(
    incoming: &mut Incoming<Streaming<OpenSessionResponse>>,
    on_queue_position: &mut (dyn FnMut(u32) + Send),
) -> Result<SessionOpened, Status> {
    while let Some(message) = incoming.message().await? {
        match message.response {
            Some(Response::QueuePosition(position)) => on_queue_position(count(position.turns_ahead_count)),
            Some(Response::Opened(opened)) => return Ok(opened),
            _ => {}
        }
    }
    Err(Status::unavailable("the broker ended the session before it was open"))
}
