//! `OpenSession`: one conversation. The connection pulls its answers, as those of a watch. When the client goes away,
//! the connection drops it at once, and with it the session, which then ends abruptly.
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
    time::{Duration, Instant, SystemTime},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
};
use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, SessionHeartbeat, SessionQueuePosition, open_session_request::Request,
    open_session_response::Response,
};
use futures_core::Stream;
use tokio::time::{sleep_until, timeout_at};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use self::{
    messages::{opened, session_request},
    open::Open,
};
use super::{convert::number, heartbeat::Heartbeat, intake::BodyFailure, known_reader, status::to_status};
use crate::{
    broker::{Broker, RequestContext},
    caller::group::GroupMark,
    reader::{
        pipeline::Pipeline,
        session::{Opening, OpeningEvent},
    },
};

/// The time for the first message, from the beginning of the call.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// The inputs of a conversation beside its messages.
pub(super) struct Settings {
    /// When the answer to the whole stream must leave; `None` if the client has set no deadline.
    pub(super) deadline: Option<Instant>,
    /// The silence after which the broker sends a heartbeat.
    pub(super) heartbeat_interval: Duration,
    /// How the client's messages ended.
    pub(super) body_failure: BodyFailure,
}

/// Returns the answers of one conversation, to which `span` belongs.
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

struct Conversation {
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    settings: Settings,
    /// When the first message is due.
    opens_by: Instant,
    /// The reader that the first message names; empty before it.
    reader: String,
    stage: Stage,
}

enum Stage {
    Start,
    Opening(Opening),
    Open(Box<Open>),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ended,
}

impl Conversation {
    /// As [`Conversation::next_until_deadline`], with a heartbeat where the broker has nothing to say for a while.
    async fn next_or_heartbeat(&mut self, silence: &mut Heartbeat) -> Result<Option<Response>, Failure> {
        let heartbeat =
            || Ok(Some(Response::Heartbeat(SessionHeartbeat { send_time: Some(SystemTime::now().into()) })));
        silence.next_or_silence(self.next_until_deadline()).await.unwrap_or_else(heartbeat)
    }

    /// As [`Conversation::next`]. At the deadline it answers every message that was read as far as its outcome is
    /// known, and then the stream ends.
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

    /// The next answer; `None` when the session has ended in good order. Cancel-safe.
    async fn next(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match &mut self.stage {
                Stage::Start => self.stage = Stage::Opening(self.open().await?),
                Stage::Opening(opening) => {
                    let session = match opening.next().await? {
                        OpeningEvent::Begun(session) => session,
                        OpeningEvent::TurnsAhead(turns) => {
                            let turns_ahead_count = number(turns);
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

    /// Reads the first message and asks for the turn.
    async fn open(&mut self) -> Result<Opening, Failure> {
        let first = timeout_at(self.opens_by.into(), self.inbound.message())
            .await
            .map_err(|_| Failure::invalid("open", "no message came within 10 s: begin with open"))?;
        let first = first.map_err(|_| self.settings.body_failure.get().unwrap_or_else(gone))?;
        let request = first.and_then(|first| first.request);
        let Some(Request::Open(open)) = request else {
            return Err(Failure::invalid("open", "the first message must be open"));
        };
        self.reader.clone_from(&open.reader);
        let request = session_request(open)?;
        let context = RequestContext { caller: &self.caller, group: self.group.clone(), reader: &self.reader };
        self.broker.open_session(context, request)
    }
}

/// The client has reset the stream, or its connection is lost. No client receives this failure; it ends the session
/// abruptly.
fn gone() -> Failure {
    Failure::unknown(Reason::LeaseEnded, "the client has gone")
}
