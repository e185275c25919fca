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
    time::{Duration, Instant},
};

use cardbroker_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, SessionEnd, SessionFailure, SessionOpen, SessionOpened,
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
    intake::refusal,
    status::{to_status, wire_delivery, wire_reason},
    transmit::{card, condition, reset_before, results, unit_commands, unit_stop, wait_timeout},
};
use crate::{
    backend::ResetKind,
    broker::{Asker, Broker},
    caller::Caller,
    error::{Failure, Reason},
    group::GroupMark,
    reader::{
        pipeline::{Answer, Pipeline, Told},
        session::{DEFAULT_IDLE, IDLE_RANGE, Opening, Session, SessionRequest, Waited},
        turn::{Disposition, TurnRequest},
    },
    timing::{Point, stamp},
};

/// How long the first message may take.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// The answers of one conversation; `deadline` is the end that the client has set for the whole stream, if it has.
pub(super) fn stream(
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<OpenSessionResponse, Status>> + Send + use<> {
    let (opens_by, reader) = (Instant::now() + OPEN_TIME, String::new());
    let conversation = Conversation { broker, caller, group, inbound, deadline, opens_by, reader, stage: Stage::Start };
    futures_util::stream::unfold(Some(conversation), |conversation| async {
        let mut conversation = conversation?;
        match conversation.next_until_deadline().await {
            Ok(Some(response)) => Some((Ok(OpenSessionResponse { response: Some(response) }), Some(conversation))),
            Ok(None) => None,
            Err(failure) => Some((Err(to_status(&failure, Some(&conversation.reader))), None)),
        }
    })
}

struct Conversation {
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    deadline: Option<Instant>,
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
    /// The id of the latest message.
    last_id: Option<u64>,
    half_closed: bool,
}

impl Conversation {
    /// As [`Conversation::next`]. At the deadline every message that was read is answered with what is known, and then
    /// the stream ends.
    async fn next_until_deadline(&mut self) -> Result<Option<Response>, Failure> {
        // The place for heartbeats: `next` is cancel-safe in every stage, so a timer of watch.heartbeat_interval beside
        // it, begun anew at each message, may win. One setting serves all streams, for it is about what lies between
        // broker and client. A client's own heartbeat goes no further than `take_in`: only what asks the card for
        // something counts as activity (`Session`).
        let Some(deadline) = self.deadline else { return self.next().await };
        tokio::select! {
            biased;
            next = self.next() => return next,
            () = sleep_until(deadline.into()) => {}
        }
        self.deadline = None;
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
                        Waited::Begun(session) => session,
                        Waited::TurnsAhead(turns) => {
                            let turns_ahead_count = u32::try_from(turns).unwrap_or(u32::MAX);
                            return Ok(Some(Response::QueuePosition(SessionQueuePosition { turns_ahead_count })));
                        }
                    };
                    let opened = opened(&session);
                    let pipeline = Pipeline::new(*session);
                    self.stage = Stage::Open(Box::new(Open { pipeline, last_id: None, half_closed: false }));
                    return Ok(Some(Response::Opened(opened)));
                }
                Stage::Open(open) => {
                    if let Some(response) = open.next(&mut self.inbound).await? {
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
        let request =
            first.map_err(|status| refusal(&status).unwrap_or_else(|| gone(&status)))?.and_then(|first| first.request);
        let Some(Request::Open(open)) = request else {
            return Err(Failure::invalid("open", "the first message must be open"));
        };
        self.reader.clone_from(&open.reader);
        let request = session_request(open)?;
        let asker = Asker { caller: &self.caller, group: self.group.clone(), reader: &self.reader };
        self.broker.open_session(asker, request)
    }
}

impl Open {
    /// The next answer; `None` when all is answered and the client has half-closed.
    ///
    /// # Errors
    /// Why the session is over, once all is answered; or the client has gone.
    async fn next(&mut self, inbound: &mut Streaming<OpenSessionRequest>) -> Result<Option<Response>, Failure> {
        loop {
            if self.half_closed && self.pipeline.is_idle() {
                return Ok(None);
            }
            let may_read = !self.half_closed && self.pipeline.has_room();
            tokio::select! {
                biased;
                told = self.pipeline.next() => return told.map(response).map(Some),
                message = inbound.message(), if may_read => match message {
                    Ok(Some(message)) => {
                        if let Err(mistake) = self.take_in(message) {
                            self.pipeline.end(mistake);
                        }
                    }
                    Ok(None) => self.half_closed = true,
                    Err(status) => match refusal(&status) {
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
                self.check_id(transmit.id)?;
                let unit = unit_commands(transmit.commands).map(|commands| (commands, transmit.raw));
                self.pipeline.transmit(transmit.id, unit, restart, Instant::now());
            }
            Some(Request::Reset(reset)) => {
                self.check_id(reset.id)?;
                let kind = if reset.cold { ResetKind::Cold } else { ResetKind::Warm };
                self.pipeline.reset(reset.id, kind, restart);
            }
            Some(Request::Open(_)) => return Err(Failure::invalid("open", "the session is open: open comes once")),
            None => return Err(Failure::invalid("request", "a message must ask for something")),
        }
        Ok(())
    }

    fn check_id(&mut self, id: u64) -> Result<(), Failure> {
        if self.last_id.is_some_and(|last| id <= last) {
            return Err(Failure::invalid("id", format!("{id} is not greater than the id before it")));
        }
        self.last_id = Some(id);
        Ok(())
    }
}

fn response(told: Told) -> Response {
    let (id, answer) = match told {
        Told::Answer(id, answer) => (id, answer),
        Told::Waiters(callers) => {
            let caller_count = u32::try_from(callers).unwrap_or(u32::MAX);
            return Response::Waiters(SessionWaiters { caller_count });
        }
    };
    stamp(Point::Answered);
    match answer {
        Answer::Unit(outcome) => Response::Transmitted(SessionTransmitted {
            id,
            results: results(outcome.results),
            stopped: outcome.stopped.map(unit_stop),
            card_duration: outcome.card_duration.try_into().ok(),
        }),
        Answer::Reset(card) => Response::ResetDone(SessionResetDone { id, atr: card.atr }),
        Answer::Failed(failure) => failed(id, &failure),
    }
}

fn failed(id: u64, failure: &Failure) -> Response {
    Response::Failure(SessionFailure {
        id,
        reason: wire_reason(failure.reason).into(),
        delivery: wire_delivery(failure.delivery).into(),
        message: match &failure.field {
            Some(field) => format!("{field}: {}", failure.message),
            None => failure.message.to_string(),
        },
    })
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
        reset_before_unit: turn.reset,
    }
}

fn disposition(open: &SessionOpen) -> Result<Disposition, Failure> {
    match SessionEnd::try_from(open.end) {
        Ok(SessionEnd::Unspecified | SessionEnd::Reset) => Ok(Disposition::Reset),
        Ok(SessionEnd::Leave) => Ok(Disposition::Leave),
        Err(_) => Err(Failure::invalid("open.end", format!("{} is no SessionEnd", open.end))),
    }
}

fn session_request(open: SessionOpen) -> Result<SessionRequest, Failure> {
    let disposition = disposition(&open)?;
    let idle_timeout = match open.idle_timeout {
        None => DEFAULT_IDLE,
        Some(given) => Duration::try_from(given)
            .ok()
            .filter(|idle| IDLE_RANGE.contains(idle))
            .ok_or_else(|| Failure::invalid("open.idle_timeout", "out of range: 0.1 s – 60 s"))?,
    };
    let turn = TurnRequest {
        reset_before: reset_before(open.start)?,
        if_insertion_id: condition("open.if_insertion_id", open.if_insertion_id)?,
        if_state_tag: condition("open.if_state_tag", open.if_state_tag)?,
        wait_timeout: wait_timeout(open.wait_timeout)?,
        card: card(open.wait_for_card),
    };
    Ok(SessionRequest { turn, idle_timeout, disposition })
}
