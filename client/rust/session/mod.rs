//! Sessions: a card that belongs to this program as long as the session's stream is open.
//!
//! ```text
//! OpenSession ── open ──▶ Session ◀── borrow ── SessionTransmit
//!                            │ orders, at most one waiting
//!                            ▼
//!                      Conversation (a task): pipeline, the stream's two halves
//! ```

mod conversation;
mod events;
mod open;
mod outgoing;
mod pipeline;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cardbroker_proto::v1::{
    self, OpenSessionResponse, SessionOpened, TransmitResponse, open_session_request::Request,
    open_session_response::Response,
};
use conversation::{Call, Conversation, Order};
use events::SessionStatus;
pub use events::{SessionEvent, SessionEvents};
pub use open::OpenSession;
use outgoing::Outgoing;
use pipeline::Pipeline;
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tonic::{Code, Streaming};

use crate::{
    CardReset, Command, Delivery, Error, Failure, Transmitted,
    command::{check_length, to_wire},
    incoming::Incoming,
    response::duration,
};

/// The maximum number of unanswered messages in a session.
const MAX_PIPELINED: usize = 32;

/// The maximum size of a message's id, `restart` and their framing, in bytes.
const ENVELOPE_BYTES: usize = 32;

/// A card that belongs to this program, made by [`OpenSession::open`]: no other program's command reaches it.
///
/// **Order.** Several calls may be in progress at once, even from several tasks. They reach the card in the order in
/// which their futures were first polled. At most 32 are sent and unanswered; further ones wait in this program.
///
/// **Failures.** A call that fails while [`Session::is_open`] stays true leaves the session alive. Calls that were sent
/// behind it before its failure was reported fail as well, not sent
/// ([`ErrorReason::PrecedingFailed`](crate::ErrorReason)); the first call after that goes on. [`Error::Stopped`] is not
/// such a failure: calls that were sent behind it run.
///
/// **Silence.** 90 s without any message of the broker, which sends heartbeats every 30 s, count as a lost connection.
///
/// **End.** [`Session::close`] ends it gracefully. A dropped session ends at once: waiting commands are not sent, the
/// one in flight runs to its end, and the card is reset.
pub struct Session {
    opened: SessionOpened,
    orders: mpsc::Sender<Order>,
    status: Arc<SessionStatus>,
    /// The number of failures that callers have received.
    known_failure_count: AtomicU64,
    /// Owned: aborted with this handle, which also drops the stream.
    conversation: JoinHandle<Result<(), Error>>,
}

/// Unsent commands for the card of a session; see [`Session::transmit`].
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct SessionTransmit<'a> {
    session: &'a Session,
    commands: Vec<Command>,
    restart: Option<bool>,
}

/// An unsent reset of a session's card; see [`Session::reset`].
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct SessionReset<'a> {
    session: &'a Session,
    reset: CardReset,
    restart: Option<bool>,
}

impl Session {
    fn of(outgoing: Outgoing, incoming: Incoming<Streaming<OpenSessionResponse>>, opened: SessionOpened) -> Self {
        let status = Arc::new(SessionStatus::default());
        // Capacity for one: further orders wait in their own calls, and are dropped with them.
        let (orders, received) = mpsc::channel(1);
        let conversation = Conversation {
            outgoing,
            incoming,
            orders: received,
            status: status.clone(),
            pipeline: Pipeline::default(),
        };
        let conversation = tokio::spawn(conversation.run());
        Self { opened, orders, status, known_failure_count: AtomicU64::new(0), conversation }
    }

    /// The insertion that the session was opened on.
    pub fn insertion_id(&self) -> &str {
        &self.opened.insertion_id
    }

    /// The card's state at the start of the session.
    pub fn state_tag(&self) -> &str {
        &self.opened.state_tag
    }

    /// The card's answer to reset at the start of the session.
    pub fn atr(&self) -> &[u8] {
        &self.opened.atr
    }

    /// How long the session waited for its turn.
    pub fn queue_duration(&self) -> Duration {
        duration(self.opened.queue_duration)
    }

    /// Whether the card was reset between the previous turn and this one, or at the start of this one.
    pub fn was_reset(&self) -> bool {
        self.opened.was_reset
    }

    /// The number of callers that wait for the card, as last reported by the broker.
    pub fn waiters(&self) -> u32 {
        self.status.waiters()
    }

    /// Whether calls can still succeed, as far as this program knows.
    pub fn is_open(&self) -> bool {
        self.status.ended().is_none()
    }

    /// Follows what the broker reports besides answers: others begin to wait, the session ends. Begins with the state
    /// of this moment.
    pub fn events(&self) -> SessionEvents {
        self.status.events()
    }

    /// Builds a message with commands for the card, 1–64, run in order up to the first stop; it is sent at
    /// [`SessionTransmit::send`].
    pub fn transmit<C: Into<Command>>(&self, commands: impl IntoIterator<Item = C>) -> SessionTransmit<'_> {
        SessionTransmit { session: self, commands: commands.into_iter().map(Into::into).collect(), restart: None }
    }

    /// Builds a reset of the card, warm or cold; it is sent at [`SessionReset::send`].
    pub fn reset(&self, reset: CardReset) -> SessionReset<'_> {
        SessionReset { session: self, reset, restart: None }
    }

    /// Ends the session gracefully: all sent messages are answered, then the card is treated as
    /// [`OpenSession::disposition`] says. Returns when the broker has confirmed the end.
    ///
    /// # Errors
    /// [`Error::Failed`] if the session had ended, or ends, otherwise.
    pub async fn close(mut self) -> Result<(), Error> {
        // If the task no longer takes orders, its result says why.
        let _ = self.orders.send(Order::Close).await;
        (&mut self.conversation).await.unwrap_or_else(|_| Err(lost()))
    }

    async fn call(&self, request: Request, restart: Option<bool>) -> Result<Response, Error> {
        let known_failure_count = self.known_failure_count.load(Ordering::Acquire);
        let (reply, answer) = oneshot::channel();
        let call = Call { request, known_failure_count, restart, reply };
        let ended = || self.status.ended().unwrap_or_else(lost);
        self.orders.send(Order::Send(call)).await.map_err(|_| ended().not_sent())?;
        // The task answers everything that it sent before it ends: a message without an answer was not sent.
        let reply = answer.await.map_err(|_| ended())?;
        self.known_failure_count.fetch_max(reply.failure_count, Ordering::AcqRel);
        reply.outcome
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.conversation.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("opened", &self.opened).field("status", &self.status).finish()
    }
}

impl SessionTransmit<'_> {
    /// Decides whether the commands go on after a failure of the session. By default the session decides: it goes on
    /// with the first call that begins after the failure was reported.
    pub fn restart(mut self, restart: bool) -> Self {
        self.restart = Some(restart);
        self
    }

    /// Runs the commands. No other call's command runs between them.
    ///
    /// Dropping the future does not recall a message that has left this program.
    ///
    /// # Errors
    /// [`Error::Stopped`] if some commands were answered but not all; [`Error::Failed`] if none was. After a loss of
    /// the connection, commands that were sent have [`Delivery::Unknown`](crate::Delivery::Unknown); once the session
    /// has ended, later ones have [`Delivery::NotSent`](crate::Delivery::NotSent).
    pub async fn send(self) -> Result<Transmitted, Error> {
        let commands = to_wire(self.commands)?;
        let transmit = v1::SessionTransmit { id: 0, commands };
        check_length(transmit.encoded_len() + ENVELOPE_BYTES)?;
        match self.session.call(Request::Transmit(transmit), self.restart).await? {
            Response::Transmitted(transmitted) => Transmitted::or_stopped(TransmitResponse {
                results: transmitted.results,
                stopped: transmitted.stopped,
                card_duration: transmitted.card_duration,
                insertion_id: self.session.opened.insertion_id.clone(),
                ..TransmitResponse::default()
            }),
            _ => Err(other_answer()),
        }
    }
}

impl SessionReset<'_> {
    /// Decides whether the reset goes on after a failure of the session; see [`SessionTransmit::restart`].
    pub fn restart(mut self, restart: bool) -> Self {
        self.restart = Some(restart);
        self
    }

    /// Resets the card. Returns its new answer to reset, which may differ from the one before.
    ///
    /// # Errors
    /// [`Error::Failed`] if the card was not reset.
    pub async fn send(self) -> Result<Vec<u8>, Error> {
        let reset = v1::SessionReset { id: 0, reset: self.reset.into() };
        match self.session.call(Request::Reset(reset), self.restart).await? {
            Response::ResetDone(done) => Ok(done.atr),
            _ => Err(other_answer()),
        }
    }
}

fn other_answer() -> Error {
    let message = "the broker sent an answer of the wrong kind";
    Failure::own(None, Delivery::Unknown, Code::Internal, message).into()
}

/// The task ended without a result, for example because its runtime shut down.
fn lost() -> Error {
    Failure::own(None, Delivery::Unknown, Code::Unavailable, "the session's task was ended").into()
}
