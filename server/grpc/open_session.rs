//! `OpenSession`: one conversation. It is pulled by the connection like a watch: when the client goes away it is dropped where it
//! stands, and with it the session, which ends abruptly.
//!
//! ```text
//! Start ── open ──▶ Opening ── turn ──▶ Open ── half-close, all answered ──▶ closed, status OK
//!   │                  │                  └──── over, all answered ────────▶ status
//!   └── anything else ─┴── no turn ──────────────────────────────────────▶ status
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use cardbroker_proto::v1::{
    self, OpenSessionRequest, OpenSessionResponse, SessionEnd, SessionFailure, SessionOpen, SessionOpened,
    SessionQueuePosition, SessionResetDone, SessionTransmitted, SessionWaiters, open_session_request::Request,
    open_session_response::Response,
};
use futures_core::Stream;
use tokio::{
    sync::oneshot,
    task::yield_now,
    time::{sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::{
    intake::BodyFailure,
    status::{to_status, wire_delivery, wire_reason},
    transmit::{condition, reset_first, results, unit_commands, unit_stop, wait_timeout},
};
use crate::{
    backend::{CardInfo, ResetKind},
    broker::{Asker, Broker},
    caller::Caller,
    error::{Delivery, Failure, Reason},
    group::GroupMark,
    reader::{
        MAX_PIPELINED,
        session::{Disposition, News, Opening, Session, SessionOver, SessionRequest, SessionUnit, Waited},
        status::preceding_failed,
        turn::TurnRequest,
    },
    timing::{Point, stamp},
};

/// How long the first message may take.
const OPEN_TIME: Duration = Duration::from_secs(10);
const DEFAULT_IDLE: Duration = Duration::from_secs(10);
const SHORTEST_IDLE: Duration = Duration::from_millis(100);
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// The answers of one conversation; `deadline` is the end that the client has set for the whole stream, if it has.
pub(super) fn stream(
    broker: Broker,
    caller: Caller,
    group: GroupMark,
    inbound: Streaming<OpenSessionRequest>,
    body_failure: BodyFailure,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<OpenSessionResponse, Status>> + Send + use<> {
    let conversation = Conversation {
        broker,
        caller,
        group,
        inbound,
        body_failure,
        deadline,
        reader: String::new(),
        stage: Stage::Start,
    };
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
    body_failure: BodyFailure,
    deadline: Option<Instant>,
    reader: String,
    stage: Stage,
}

enum Stage {
    Start,
    Opening { opening: Opening, disposition: Disposition },
    Open(Box<Open>),
    Ended,
}

/// An open session and what is under way in it.
struct Open {
    session: Session,
    disposition: Disposition,
    /// What was asked and not answered yet, in order.
    pending: VecDeque<Pending>,
    /// The id of the latest message.
    last_id: Option<u64>,
    /// A message failed here, before it could be handed on, and none since has restarted.
    failed: bool,
    half_closed: bool,
    /// Why nothing more is read from the client, if that is the broker's decision. The session ends with it once all is answered.
    unreadable: Option<Failure>,
    over: Option<SessionOver>,
}

struct Pending {
    id: u64,
    task: Task,
}

enum Task {
    Unit(SessionUnit),
    Reset(oneshot::Receiver<Result<CardInfo, Failure>>),
    Failed(Failure),
}

impl Conversation {
    async fn next_until_deadline(&mut self) -> Result<Option<Response>, Failure> {
        let Some(deadline) = self.deadline else { return self.next().await };
        tokio::select! {
            biased;
            next = self.next() => next,
            () = sleep_until(deadline.into()) => {
                let late = "the deadline of the stream has come: open sessions without one";
                Err(match self.stage {
                    Stage::Start | Stage::Opening { .. } => Failure::not_sent(Reason::QueueTimeout, late),
                    Stage::Open(_) | Stage::Ended => Failure::unknown(Reason::DeadlineNear, late),
                })
            }
        }
    }

    /// The next answer; `None` when the session has ended in good order.
    async fn next(&mut self) -> Result<Option<Response>, Failure> {
        loop {
            match &mut self.stage {
                Stage::Start => {
                    let (opening, disposition) = self.open().await?;
                    self.stage = Stage::Opening { opening, disposition };
                }
                Stage::Opening { opening, disposition } => {
                    let session = match opening.next().await? {
                        Waited::Begun(session) => session,
                        Waited::TurnsAhead(turns) => {
                            let turns_ahead_count = u32::try_from(turns).unwrap_or(u32::MAX);
                            return Ok(Some(Response::QueuePosition(SessionQueuePosition { turns_ahead_count })));
                        }
                    };
                    let opened = opened(&session);
                    self.stage = Stage::Open(Box::new(Open::new(*session, *disposition)));
                    return Ok(Some(Response::Opened(opened)));
                }
                Stage::Open(open) => {
                    if let Some(response) = open.next(&mut self.inbound, &self.body_failure).await? {
                        return Ok(Some(response));
                    }
                    // A stream that is reset with CANCEL looks half-closed too. The connection, which looks for resets before each time
                    // that it asks for an answer, drops us here if it was one, and the session ends abruptly.
                    yield_now().await;
                    if let Stage::Open(open) = std::mem::replace(&mut self.stage, Stage::Ended) {
                        open.session.close(open.disposition).await;
                    }
                }
                Stage::Ended => return Ok(None),
            }
        }
    }

    /// Reads the first message and asks for the turn.
    async fn open(&mut self) -> Result<(Opening, Disposition), Failure> {
        let first = timeout(OPEN_TIME, self.inbound.message())
            .await
            .map_err(|_| Failure::invalid("open", "no message came within 10 s: begin with open"))?;
        let request = first
            .map_err(|status| self.body_failure.get().unwrap_or_else(|| gone(&status)))?
            .and_then(|first| first.request);
        let Some(Request::Open(open)) = request else {
            return Err(Failure::invalid("open", "the first message must be open"));
        };
        self.reader.clone_from(&open.reader);
        let disposition = disposition(&open)?;
        let request = session_request(open)?;
        let asker = Asker { caller: &self.caller, group: self.group.clone(), reader: &self.reader };
        let opening = self.broker.open_session(asker, request, disposition)?;
        Ok((opening, disposition))
    }
}

impl Open {
    fn new(session: Session, disposition: Disposition) -> Self {
        let pending = VecDeque::with_capacity(MAX_PIPELINED);
        Self {
            session,
            disposition,
            pending,
            last_id: None,
            failed: false,
            half_closed: false,
            unreadable: None,
            over: None,
        }
    }

    /// The next answer; `None` when all is answered and the client has half-closed.
    ///
    /// # Errors
    /// Why the session is over, once all is answered.
    async fn next(
        &mut self,
        inbound: &mut Streaming<OpenSessionRequest>,
        body_failure: &BodyFailure,
    ) -> Result<Option<Response>, Failure> {
        loop {
            if self.pending.is_empty() {
                match self.over.take() {
                    Some(over) => return Err(over.failure),
                    None if self.half_closed => return self.unreadable.take().map_or(Ok(None), Err),
                    None => {}
                }
            }
            let may_read = !self.half_closed && self.over.is_none() && self.pending.len() < MAX_PIPELINED;
            tokio::select! {
                biased;
                answer = front_answer(&mut self.pending) => {
                    return Ok(Some(answer));
                }
                news = self.session.news(), if self.over.is_none() => match news {
                    News::Over(over) => {
                        self.abandon_if_it_hangs(&over);
                        self.over = Some(over);
                    }
                    News::Waiters(callers) => {
                        let caller_count = u32::try_from(callers).unwrap_or(u32::MAX);
                        return Ok(Some(Response::Waiters(SessionWaiters { caller_count })));
                    }
                },
                message = inbound.message(), if may_read => match message {
                    Ok(Some(message)) => self.take_in(message)?,
                    Ok(None) => self.half_closed = true,
                    Err(status) => {
                        self.unreadable = Some(body_failure.get().ok_or_else(|| gone(&status))?);
                        self.half_closed = true;
                    }
                },
            }
        }
    }

    /// Answers what is pending, since nobody else will.
    fn abandon_if_it_hangs(&mut self, over: &SessionOver) {
        if !over.hangs {
            return;
        }
        for (place, pending) in self.pending.iter_mut().enumerate() {
            match &pending.task {
                Task::Unit(unit) => unit.abandon(&over.failure, Instant::now()),
                Task::Reset(answer) if answer.is_empty() => {
                    // The first one may be what hangs.
                    let delivery = if place == 0 { Delivery::Unknown } else { Delivery::NotSent };
                    pending.task = Task::Failed(Failure { delivery, ..over.failure.clone() });
                }
                Task::Reset(_) | Task::Failed(_) => {}
            }
        }
    }

    /// Takes a message in. What is wrong with its commands is answered in its turn; what is wrong with the conversation ends it.
    fn take_in(&mut self, message: OpenSessionRequest) -> Result<(), Failure> {
        stamp(Point::Decoded);
        let restart = message.restart;
        let (id, request) = match message.request {
            Some(Request::Transmit(transmit)) => (transmit.id, Ok(transmit)),
            Some(Request::Reset(reset)) => (reset.id, Err(reset)),
            Some(Request::Open(_)) => return Err(Failure::invalid("open", "the session is open: open comes once")),
            None => return Err(Failure::invalid("request", "a message must ask for something")),
        };
        if self.last_id.is_some_and(|last| id <= last) {
            return Err(Failure::invalid("id", format!("{id} is not greater than the id before it")));
        }
        self.last_id = Some(id);
        self.failed &= !restart;
        let task = if self.failed {
            Task::Failed(preceding_failed())
        } else {
            let task = match request {
                Ok(transmit) => self.transmit(transmit, restart),
                Err(reset) => {
                    let kind = if reset.cold { ResetKind::Cold } else { ResetKind::Warm };
                    self.session.reset(kind, restart).map(Task::Reset)
                }
            };
            self.failed = task.is_err();
            task.unwrap_or_else(Task::Failed)
        };
        self.pending.push_back(Pending { id, task });
        Ok(())
    }

    fn transmit(&self, transmit: v1::SessionTransmit, restart: bool) -> Result<Task, Failure> {
        let commands = unit_commands(transmit.commands)?;
        self.session.transmit(commands, transmit.raw, restart, Instant::now()).map(Task::Unit)
    }
}

/// The answer to the oldest message, once it is there. Cancel-safe.
async fn front_answer(pending: &mut VecDeque<Pending>) -> Response {
    let Some(front) = pending.front_mut() else { return std::future::pending().await };
    let id = front.id;
    let response = match &mut front.task {
        Task::Failed(failure) => failed(id, failure),
        Task::Unit(unit) => match (&mut unit.answer).await {
            Ok(Ok(outcome)) => Response::Transmitted(SessionTransmitted {
                id,
                results: results(outcome.results),
                stopped: outcome.stopped.map(unit_stop),
                card_duration: outcome.card_duration.try_into().ok(),
            }),
            Ok(Err(failure)) => failed(id, &failure),
            Err(_) => failed(id, &lost()),
        },
        Task::Reset(answer) => match answer.await {
            Ok(Ok(card)) => Response::ResetDone(SessionResetDone { id, atr: card.atr }),
            Ok(Err(failure)) => failed(id, &failure),
            Err(_) => failed(id, &lost()),
        },
    };
    pending.pop_front();
    stamp(Point::Answered);
    response
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

fn lost() -> Failure {
    Failure::unknown(Reason::Internal, "the reader's thread has ended: report this")
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
    let idle_timeout = match open.idle_timeout {
        None => DEFAULT_IDLE,
        Some(given) => Duration::try_from(given)
            .ok()
            .filter(|idle| (SHORTEST_IDLE..=LONGEST_IDLE).contains(idle))
            .ok_or_else(|| Failure::invalid("open.idle_timeout", "out of range: 0.1 s – 60 s"))?,
    };
    let turn = TurnRequest {
        reset_first: reset_first(open.start)?,
        if_insertion_id: condition("open.if_insertion_id", open.if_insertion_id)?,
        if_state_tag: condition("open.if_state_tag", open.if_state_tag)?,
        wait_timeout: wait_timeout(open.wait_timeout)?,
        wait_for_card: open.wait_for_card,
    };
    Ok(SessionRequest { turn, idle_timeout })
}
