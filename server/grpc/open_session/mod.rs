//! `OpenSession`: one conversation with a client. The connection pulls its answers, like those of a watch. When the
//! client goes away, the connection drops the conversation and with it the session, which then ends abnormally.
//!
//! ```text
//! Start ── open ──▶ Opening ── turn ──▶ Open ── half-close, all answered ──▶ closed, status OK
//!   │                  │                  └──── over, all answered ────────▶ status
//!   └── anything else ─┴── no turn ──────────────────────────────────────▶ status
//! ```

mod messages;
mod open;

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
};
use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, SessionFailed, SessionHeartbeat, SessionQueuePosition,
    open_session_request::Request, open_session_response::Response,
};
use futures_core::Stream;
use tokio::time::{sleep_until, timeout_at};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use self::{
    messages::{opened, session_request},
    open::Open,
};
use super::{
    convert::to_i32,
    heartbeat::Heartbeat,
    intake::{BodyFailure, is_refusal},
    known_reader,
    status::to_status,
};
use crate::{
    broker::{Broker, RequestContext},
    caller::group::GroupMark,
    listen::Peer,
    reader::{
        pipeline::Pipeline,
        session::{Opening, OpeningEvent},
    },
};

/// The time for the first message, from the beginning of the call.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// The inputs of a conversation other than its messages.
pub(super) struct Settings {
    /// When the answer to the whole stream must leave; `None` without a deadline of the client.
    pub(super) deadline: Option<Instant>,
    /// The silence after which the broker sends a heartbeat.
    pub(super) heartbeat_interval: Duration,
    /// How the client's messages ended.
    pub(super) body_failure: BodyFailure,
    /// The connection of the call, to which refused messages are charged.
    pub(super) peer: Peer,
    /// The trace context of the call.
    pub(super) traceparent: Option<Arc<str>>,
}

/// Returns the answers of one conversation, which belongs to `span`.
pub(super) fn stream(
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    settings: Settings,
    span: Span,
) -> impl Stream<Item = Result<OpenSessionResponse, Status>> + Send + use<> {
    let heartbeat = Heartbeat::new(settings.heartbeat_interval);
    let (opens_by, reader) = (Instant::now() + OPEN_TIME, String::new());
    let conversation = Conversation { broker, caller, group, inbound, settings, opens_by, reader, stage: Stage::Start };
    futures_util::stream::unfold(Some((conversation, heartbeat, span)), |state| async {
        let (mut conversation, mut heartbeat, span) = state?;
        match conversation.next_or_heartbeat(&mut heartbeat).instrument(span.clone()).await {
            Ok(Some(response)) => {
                conversation.charge_if_refused(&response);
                let response = OpenSessionResponse { response: Some(response) };
                Some((Ok(response), Some((conversation, heartbeat, span))))
            }
            Ok(None) => None,
            Err(failure) => {
                let reader = known_reader(&conversation.broker, &conversation.caller, &conversation.reader);
                Some((Err(to_status(&failure, reader)), None))
            }
        }
    })
}

/// One call of `OpenSession`. Owned by its response stream; dropping it ends the session abnormally.
struct Conversation {
    /// The broker, for the request of the session. It also tells whether a failure may name the reader.
    broker: Broker,
    /// The identified caller of the call.
    caller: Caller,
    /// The isolation group of the call.
    group: GroupMark,
    /// The client's messages. Read only as far as the pipeline has room.
    inbound: Streaming<OpenSessionRequest>,
    /// The inputs from the call. The deadline is taken out when it has come.
    settings: Settings,
    /// The latest time for the first message: [`OPEN_TIME`] after the beginning of the call.
    opens_by: Instant,
    /// The reader of the first message, `readers/{id}`; empty before it.
    reader: String,
    /// The progress of the conversation, drawn above.
    stage: Stage,
}

/// The progress of a conversation.
enum Stage {
    /// The first message is awaited, which must be `open`.
    Start,
    /// The request for the session waits for its turn.
    Opening(Opening),
    /// The session has its turn, and serves the client's messages.
    Open(Box<Open>),
    /// The client has half-closed and has all answers; the session's disposition is awaited.
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The session has ended normally, and no answer follows.
    Ended,
}

impl Conversation {
    /// Charges a message that was refused in band, as the edge charges refused calls.
    fn charge_if_refused(&self, response: &Response) {
        let Response::Failed(SessionFailed { failure: Some(failure), .. }) = response else { return };
        if is_refusal(failure.code.into()) {
            self.settings.peer.charge(&self.caller);
        }
    }

    /// Like [`Conversation::next_until_deadline`], with heartbeats during silence.
    async fn next_or_heartbeat(&mut self, silence: &mut Heartbeat) -> Result<Option<Response>, Failure> {
        let heartbeat =
            || Ok(Some(Response::Heartbeat(SessionHeartbeat { send_time: Some(SystemTime::now().into()) })));
        silence.next_or_silence(self.next_until_deadline()).await.unwrap_or_else(heartbeat)
    }

    /// Like [`Conversation::next`]. At the deadline it answers every read message with its outcome as far as known, and
    /// then the stream ends.
    async fn next_until_deadline(&mut self) -> Result<Option<Response>, Failure> {
        let Some(deadline) = self.settings.deadline else { return self.next().await };
        tokio::select! {
            biased;
            next = self.next() => return next,
            () = sleep_until(deadline.into()) => {}
        }
        self.settings.deadline = None;
        let late = "the deadline of the stream has come: open sessions without one";
        match &mut self.stage {
            Stage::Start | Stage::Opening(_) => Err(Failure::not_sent(Reason::QueueTimeout, late)),
            Stage::Open(open) => {
                open.abandon(&Failure::not_sent(Reason::DeadlineNear, late));
                self.next().await
            }
            Stage::Closing(_) | Stage::Ended => Err(Failure::not_sent(Reason::DeadlineNear, late)),
        }
    }

    /// Returns the next answer; `None` when the session has ended normally. Cancel-safe.
    async fn next(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match &mut self.stage {
                Stage::Start => self.stage = Stage::Opening(self.open().await?),
                Stage::Opening(opening) => {
                    let session = match opening.next().await? {
                        OpeningEvent::Begun(session) => session,
                        OpeningEvent::TurnsAhead(turns) => {
                            let turns_ahead_count = to_i32(turns);
                            return Ok(Some(Response::QueuePosition(SessionQueuePosition { turns_ahead_count })));
                        }
                    };
                    let opened = opened(&session);
                    self.stage = Stage::Open(Box::new(Open::new(Pipeline::new(*session))));
                    return Ok(Some(Response::Opened(opened)));
                }
                Stage::Open(open) => {
                    if let Some(response) = open.next(&mut self.inbound, &self.settings, &self.reader).await? {
                        return Ok(Some(response));
                    }
                    if let Stage::Open(open) = std::mem::replace(&mut self.stage, Stage::Ended) {
                        self.stage = Stage::Closing(Box::pin(open.close()));
                    }
                }
                Stage::Closing(closing) => {
                    closing.await;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Ok(None),
            }
        }
    }

    /// Reads the first message and requests the turn.
    async fn open(&mut self) -> Result<Opening, Failure> {
        let first = timeout_at(self.opens_by.into(), self.inbound.message())
            .await
            .map_err(|_| Failure::invalid("open", "no message arrived within 10 s: begin with open"))?;
        let first = first.map_err(|_| self.settings.body_failure.get().unwrap_or_else(gone))?;
        let request = first.and_then(|first| first.request);
        let Some(Request::Open(open)) = request else {
            return Err(Failure::invalid("open", "the first message must be open"));
        };
        self.reader.clone_from(&open.reader);
        let request = session_request(open)?;
        let context = RequestContext {
            caller: &self.caller,
            group: self.group.clone(),
            reader: &self.reader,
            traceparent: self.settings.traceparent.clone(),
        };
        self.broker.open_session(context, request)
    }
}

/// The client has reset the stream, or its connection is lost. No client receives this failure; it ends the session
/// abnormally.
fn gone() -> Failure {
    Failure::unknown(Reason::LeaseEnded, "the client has disconnected")
}
