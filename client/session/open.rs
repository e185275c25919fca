//! Opening a session: what it asks for, and the wait for its turn.

use std::time::Duration;

use cardbroker_proto::v1::{
    CardStart, OpenSessionResponse, SessionEnd, SessionOpen, SessionOpened, open_session_response::Response,
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{Session, outgoing::Outgoing};
use crate::{
    Client, Error,
    transmit::{CARD_TIME, DEFAULT_WAIT, MAX_DEADLINE},
};

/// A session in the making; see [`Client::open_session`].
#[must_use = "nothing is sent before `open`"]
pub struct OpenSession {
    client: Client,
    open: SessionOpen,
    wait: Duration,
    on_queue_position: Box<dyn FnMut(u32) + Send>,
}

impl OpenSession {
    pub(crate) fn new(client: Client, reader: String) -> Self {
        let open = SessionOpen { reader, ..SessionOpen::default() };
        Self { client, open, wait: DEFAULT_WAIT, on_queue_position: Box::new(|_| {}) }
    }

    /// How long to wait for the turn, at most 24 h. Default: 30 s; zero means now or never.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait = timeout.min(MAX_DEADLINE);
        self
    }

    /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one.
    pub fn wait_for_card(mut self) -> Self {
        self.open.wait_for_card = true;
        self
    }

    /// Fails unless the card is still in this insertion ([`Reader::insertion_id`](crate::Reader::insertion_id)).
    pub fn if_insertion_id(mut self, id: impl Into<String>) -> Self {
        self.open.if_insertion_id = id.into();
        self
    }

    /// Fails if anybody used or reset the card since ([`Transmitted::state_tag`](crate::Transmitted::state_tag)).
    pub fn if_state_tag(mut self, tag: impl Into<String>) -> Self {
        self.open.if_state_tag = tag.into();
        self
    }

    /// Resets the card (warm) before the session.
    pub fn start_reset(mut self) -> Self {
        self.open.set_start(CardStart::Reset);
        self
    }

    /// How long the session may idle while others wait before the broker takes it away, 0.1 s–60 s. Default: 10 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.open.idle_timeout = prost_types::Duration::try_from(timeout).ok();
        self
    }

    /// Leaves the card as it is after [`Session::close`], unless the next caller belongs to another isolation group.
    /// Otherwise the card is reset, as it always is after a session that was dropped.
    pub fn leave_at_end(mut self) -> Self {
        self.open.set_end(SessionEnd::Leave);
        self
    }

    /// Tells how many turns come before this one, now and whenever that changes, until the session is open.
    pub fn on_queue_position(mut self, tell: impl FnMut(u32) + Send + 'static) -> Self {
        self.on_queue_position = Box::new(tell);
        self
    }

    /// Waits for the turn and takes the card. Must be called within a Tokio runtime, which then runs the session's task.
    ///
    /// Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// [`Error::Failed`] and [`Error::NotRunning`]; no command was sent.
    pub async fn open(mut self) -> Result<Session, Error> {
        self.open.wait_timeout = prost_types::Duration::try_from(self.wait).ok();
        // The card gets its time for a reset. A broker that is silent for longer is stuck.
        let limit = self.wait + CARD_TIME.max(self.wait / 8);
        let Self { client, open, mut on_queue_position, .. } = self;
        let opening = async {
            let (outgoing, mut incoming) = Outgoing::start(&client, open).await?;
            let opened = until_opened(&mut incoming, &mut on_queue_position).await?;
            Ok((outgoing, incoming, opened))
        };
        match timeout(limit, opening).await {
            Ok(Ok((outgoing, incoming, opened))) => Ok(Session::of(outgoing, incoming, opened)),
            Ok(Err(status)) => Err(Error::of_query(client.endpoint(), &status)),
            Err(_) => Err(Error::deadline_passed().not_sent()),
        }
    }
}

async fn until_opened(
    incoming: &mut Streaming<OpenSessionResponse>,
    on_queue_position: &mut (dyn FnMut(u32) + Send),
) -> Result<SessionOpened, Status> {
    while let Some(message) = incoming.message().await? {
        match message.response {
            Some(Response::QueuePosition(position)) => on_queue_position(position.turns_ahead_count),
            Some(Response::Opened(opened)) => return Ok(opened),
            _ => {}
        }
    }
    Err(Status::unavailable("the broker ended the session before it was open"))
}
