//! `OpenSession`: one conversation. It is pulled by the connection like a watch: when the client goes away it is dropped where it
//! stands, and with it the session, which ends abruptly.
//!
//! ```text
//! Start ── open ──▶ Opening ── turn ──▶ Open ── half-close, all answered ──▶ closed, status OK
//!   │                  │                  └──── over, all answered ────────▶ status
//!   └── anything else ─┴── no turn ──────────────────────────────────────▶ status
//! ```

use std::{
    pin::Pin,
    time::{Duration, Instant, SystemTime},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
    slot::ResetKind,
    turns::turn::Disposition,
};
use cardbroker_proto::v1::{
    CardReset, OpenSessionRequest, OpenSessionResponse, SessionFailed, SessionHeartbeat, SessionOpen, SessionOpened,
    SessionQueuePosition, SessionResetDone, SessionTransmitted, SessionWaiters, open_session_request::Request,
    open_session_response::Response,
};
use futures_core::Stream;
use tokio::{
    task::yield_now,
    time::{sleep_until, timeout_at},
};
use tonic::{Status, Streaming};

use super::{
    convert::{disposition, number, results, turn_request, unit_commands, unit_stop},
    heartbeat::Heartbeat,
    intake::BodyFailure,
    known_reader,
    status::{to_status, wire_failure},
};
use crate::{
    broker::{Broker, RequestContext},
    caller::group::GroupMark,
    reader::{
        pipeline::{Answer, Delivered, Pipeline},
        session::{DEFAULT_IDLE, IDLE_RANGE, Opening, OpeningEvent, Session, SessionRequest},
    },
    timing::{Point, stamp},
};

/// How long the first message may take.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// What a conversation depends on beside its messages.
pub(super) struct Settings {
    /// The end that the client has set for the whole stream, if it has.
    pub(super) deadline: Option<Instant>,
    /// How long the broker may be silent before it sends a heartbeat.
    pub(super) heartbeat_interval: Duration,
    /// Why the client's messages were read no further.
    pub(super) body_failure: BodyFailure,
}

/// Returns the answers of one conversation.
pub(super) fn stream(
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    settings: Settings,
) -> impl Stream<Item = Result<OpenSessionResponse, Status>> + Send + use<> {
    let heartbeat = Heartbeat::new(settings.heartbeat_interval);
    let (opens_by, reader) = (Instant::now() + OPEN_TIME, String::new());
    let conversation = Conversation { broker, caller, group, inbound, settings, opens_by, reader, stage: Stage::Start };
    futures_util::stream::unfold(Some((conversation, heartbeat)), |state| async {
        let (mut conversation, mut heartbeat) = state?;
        match conversation.next_or_heartbeat(&mut heartbeat).await {
            Ok(Some(response)) => {
                let response = OpenSessionResponse { response: Some(response) };
                Some((Ok(response), Some((conversation, heartbeat))))
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
    /// When the first message must have come.
    opens_by: Instant,
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

/// An open session and what its client has said so far.
struct Open {
    pipeline: Pipeline,
    /// The id of the latest message; 0 before the first.
    last_id: i64,
    half_closed: bool,
}

impl Conversation {
    /// As [`Conversation::next_until_deadline`], with a heartbeat where the broker has nothing to say for a while.
    async fn next_or_heartbeat(&mut self, silence: &mut Heartbeat) -> Result<Option<Response>, Failure> {
        let heartbeat =
            || Ok(Some(Response::Heartbeat(SessionHeartbeat { send_time: Some(SystemTime::now().into()) })));
        silence.next_or_silence(self.next_until_deadline()).await.unwrap_or_else(heartbeat)
    }

    /// As [`Conversation::next`]. At the deadline every message that was read is answered with what is known, and then
    /// the stream ends.
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
                open.pipeline.abandon(&Failure::not_sent(Reason::DeadlineNear, late), Instant::now());
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
                    let pipeline = Pipeline::new(*session);
                    self.stage = Stage::Open(Box::new(Open { pipeline, last_id: 0, half_closed: false }));
                    return Ok(Some(Response::Opened(opened)));
                }
                Stage::Open(open) => {
                    if let Some(response) = open.next(&mut self.inbound, &self.settings, &self.reader).await? {
                        return Ok(Some(response));
                    }
                    // A stream that is reset with CANCEL looks half-closed too. The connection, which looks for resets before each time
                    // that it asks for an answer, drops us here if it was one, and the session ends abruptly.
                    yield_now().await;
                    if let Stage::Open(open) = std::mem::replace(&mut self.stage, Stage::Ended) {
                        self.stage = Stage::Closing(Box::pin(open.pipeline.close()));
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
        let first = first.map_err(|status| self.settings.body_failure.get().unwrap_or_else(|| gone(&status)))?;
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

impl Open {
    /// The next answer; `None` when all is answered and the client has half-closed.
    ///
    /// # Errors
    /// Why the session is over, once all is answered; or the client has gone.
    async fn next(
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
                told = self.pipeline.next() => return told.map(|told| Some(response(told, reader))),
                message = inbound.message(), if may_read => match message {
                    Ok(Some(message)) => {
                        if let Err(mistake) = self.take_in(message) {
                            self.pipeline.end(mistake);
                        }
                    }
                    Ok(None) => self.half_closed = true,
                    Err(status) => match settings.body_failure.get() {
                        Some(failure) => self.pipeline.end(failure),
                        None => return Err(gone(&status)),
                    },
                },
            }
        }
    }

    /// Takes a message in. What is wrong with its commands is answered in its turn; what is wrong with the conversation ends it.
    fn take_in(&mut self, message: OpenSessionRequest) -> Result<(), Failure> {
        stamp(Point::Decoded);
        let restart = message.restart;
        match message.request {
            Some(Request::Transmit(transmit)) => {
                self.check_id("transmit.id", transmit.id)?;
                let commands = unit_commands("transmit.commands", transmit.commands);
                self.pipeline.transmit(transmit.id, commands, restart, Instant::now());
            }
            Some(Request::Reset(reset)) => {
                self.check_id("reset.id", reset.id)?;
                self.pipeline.reset(reset.id, reset_kind(reset.reset), restart);
            }
            // It is no activity, and goes no further.
            Some(Request::Heartbeat(_)) => {}
            Some(Request::Open(_)) => return Err(Failure::invalid("open", "the session is open: open comes once")),
            None => return Err(Failure::invalid("request", "a message must ask for something")),
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

fn reset_kind(reset: i32) -> Result<ResetKind, Failure> {
    match CardReset::try_from(reset) {
        Ok(CardReset::Warm) => Ok(ResetKind::Warm),
        Ok(CardReset::Cold) => Ok(ResetKind::Cold),
        _ => Err(Failure::invalid("reset.reset", "say WARM or COLD")),
    }
}

fn response(told: Delivered, reader: &str) -> Response {
    let (id, answer) = match told {
        Delivered::Answer(id, answer) => (id, answer),
        Delivered::Waiters(callers) => {
            return Response::Waiters(SessionWaiters { caller_count: number(callers) });
        }
    };
    stamp(Point::Answered);
    match answer {
        Answer::Unit(outcome) => Response::Transmitted(SessionTransmitted {
            id,
            results: results(outcome.results),
            stopped: outcome.stopped.map(|stop| unit_stop(&stop, reader)),
            card_duration: outcome.card_duration.try_into().ok(),
        }),
        Answer::Reset(card) => Response::ResetDone(SessionResetDone { id, atr: card.atr }),
        Answer::Failed(failure) => {
            Response::Failed(SessionFailed { id, failure: Some(wire_failure(&failure, Some(reader))) })
        }
    }
}

/// The client has gone; nobody hears this.
fn gone(status: &Status) -> Failure {
    Failure::unknown(Reason::LeaseEnded, format!("the stream has failed: {}", status.code()))
}

fn opened(session: &Session) -> SessionOpened {
    let turn = session.turn();
    SessionOpened {
        insertion_id: turn.insertion_id.clone(),
        state_tag: turn.state_tag.clone(),
        atr: session.atr().to_vec(),
        queue_duration: session.queue_duration().try_into().ok(),
        was_reset: turn.reset,
    }
}

fn session_request(open: SessionOpen) -> Result<SessionRequest, Failure> {
    let idle_timeout = match open.idle_timeout {
        None => DEFAULT_IDLE,
        Some(given) => Duration::try_from(given)
            .ok()
            .filter(|idle| IDLE_RANGE.contains(idle))
            .ok_or_else(|| Failure::invalid("open.idle_timeout", "out of range: 0.1 s – 60 s"))?,
    };
    let turn = turn_request("open.turn", open.turn)?;
    let disposition = disposition("open.disposition", open.disposition, Disposition::Reset)?;
    Ok(SessionRequest { turn, idle_timeout, disposition })
}
