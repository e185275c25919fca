//! Opening a session: what it asks for, and the wait for its turn.

use std::time::Duration;

use cardbroker_proto::v1::{OpenSessionResponse, SessionOpen, SessionOpened, open_session_response::Response};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{Session, incoming::Incoming, outgoing::Outgoing};
use crate::{
    Client, Disposition, Error, ReaderName,
    repeat::ConnectRetry,
    response::{count, to_wire},
    turn::{CARD_TIME, Terms, turn_options},
    watch::SILENCE_LIMIT,
};

/// A session in the making; see [`Client::open_session`].
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

    /// How long the session may idle while others wait before the broker takes it away, 0.1 s–60 s. Default: 10 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// What happens to the card after [`Session::close`]. Default: it is reset, as it always is after a session that
    /// was dropped. [`Disposition::Leave`] needs the permission `leave`.
    pub fn disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// Tells how many turns come before this one, now and whenever that changes, until the session is open.
    pub fn on_queue_position(mut self, tell: impl FnMut(u32) + Send + 'static) -> Self {
        self.on_queue_position = Box::new(tell);
        self
    }

    /// Waits for the turn and takes the card. Must be called within a Tokio runtime, which then runs the session's
    /// task. While there is no broker, asks again for up to
    /// [`connect_timeout`](crate::ConnectOptions::connect_timeout).
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
        // The card gets its time for a reset. A broker that is silent for longer is stuck.
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
