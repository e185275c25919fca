//! The messages of a session that were read from its stream: each is answered once and in order, however the session
//! ends. The end itself is reported after the last answer and concerns only messages that were not read.

use std::{collections::VecDeque, time::Instant};

use cardbroker_core::{
    card::unit::{UnitCommand, UnitOutcome},
    error::Failure,
    slot::{CardInfo, ResetKind},
    status::preceding_failed,
};

use super::{
    jobs::MAX_PIPELINED,
    session::{Session, SessionEvent},
    session_task::{SessionReset, SessionUnit},
};

/// An open session with its unanswered messages.
pub struct Pipeline {
    /// The session itself. Dropping it ends the session abnormally.
    session: Session,
    /// The unanswered messages, in order.
    pending: VecDeque<Pending>,
    /// Whether a message has failed before it reached the card thread, and none since has restarted.
    failed: bool,
    /// The failure that ended the session, if it is over.
    over: Option<Failure>,
}

struct Pending {
    /// The client's number of the message.
    id: i64,
    /// The task, or the failure of the message.
    task: Task,
}

enum Task {
    Unit(SessionUnit),
    Reset(SessionReset),
    Failed(Failure),
}

/// An item for the client of a session.
#[derive(Debug)]
pub enum Delivered {
    /// The answer to the message with this id.
    Answer(i64, Answer),
    /// The number of waiting callers.
    Waiters(usize),
}

/// The answer to one message.
#[derive(Debug)]
pub enum Answer {
    /// The outcome of the message's commands.
    Unit(UnitOutcome),
    /// The facts of the card after the reset.
    Reset(CardInfo),
    /// The message failed, with the delivery of its first command. The session may continue.
    Failed(Failure),
}

impl Pipeline {
    /// Creates the pipeline of a session that has just begun.
    pub fn new(session: Session) -> Self {
        Self { session, pending: VecDeque::with_capacity(MAX_PIPELINED), failed: false, over: None }
    }

    /// Whether another message may be read.
    pub fn has_room(&self) -> bool {
        self.over.is_none() && self.pending.len() < MAX_PIPELINED
    }

    /// Whether every message is answered and the session is not over.
    pub fn is_idle(&self) -> bool {
        self.over.is_none() && self.pending.is_empty()
    }

    /// Accepts a message with commands, or its failure, which is answered in the message's turn. `restart` clears an
    /// earlier failure. Must not be called without room.
    pub fn transmit(&mut self, id: i64, unit: Result<Vec<UnitCommand>, Failure>, restart: bool, now: Instant) {
        self.take_in(id, restart, |session| session.transmit(unit?, restart, now).map(Task::Unit));
    }

    /// Accepts a message with a reset. Otherwise like [`Pipeline::transmit`].
    pub fn reset(&mut self, id: i64, kind: Result<ResetKind, Failure>, restart: bool) {
        self.take_in(id, restart, |session| session.reset(kind?, restart).map(Task::Reset));
    }

    fn take_in(&mut self, id: i64, restart: bool, ask: impl FnOnce(&Session) -> Result<Task, Failure>) {
        self.failed &= !restart;
        let task = if self.failed { Err(preceding_failed()) } else { ask(&self.session) };
        self.failed |= task.is_err();
        self.pending.push_back(Pending { id, task: task.unwrap_or_else(Task::Failed) });
    }

    /// Ends the session because of its stream: nothing more is read, and the read messages are done and answered first.
    /// The first reason counts.
    pub fn end(&mut self, failure: Failure) {
        self.over.get_or_insert(failure.into_not_sent());
    }

    /// Ends the session now: the read messages are answered at once as far as their outcomes are known. The outcome of
    /// the command in flight is unknown, and it continues; nothing after it begins.
    pub fn abandon(&mut self, failure: &Failure, now: Instant) {
        for pending in &mut self.pending {
            match &mut pending.task {
                Task::Unit(unit) => unit.abandon(failure, now),
                Task::Reset(reset) => reset.abandon(failure),
                Task::Failed(_) => {}
            }
        }
        self.end(failure.clone());
    }

    /// Waits for the next item. Cancel-safe. Pending without items; the stream reads messages and sends heartbeats
    /// meanwhile.
    ///
    /// # Errors
    /// The failure that ended the session, once every message is answered; its delivery is "not sent".
    pub async fn next(&mut self) -> Result<Delivered, Failure> {
        loop {
            if self.pending.is_empty()
                && let Some(over) = &self.over
            {
                return Err(over.clone());
            }
            tokio::select! {
                biased;
                (id, answer) = front_answer(&mut self.pending) => return Ok(Delivered::Answer(id, answer)),
                news = self.session.news() => match news {
                    SessionEvent::Over(over) if over.hangs => self.abandon(&over.failure, Instant::now()),
                    SessionEvent::Over(over) => self.end(over.failure),
                    SessionEvent::Waiters(callers) if self.over.is_none() => return Ok(Delivered::Waiters(callers)),
                    SessionEvent::Waiters(_) => {}
                },
            }
        }
    }

    /// Ends the session like [`Session::close`]. Must be called when it is idle and its client has ended it.
    pub fn close(self) -> impl Future<Output = ()> + Send + use<> {
        self.session.close()
    }
}

/// Returns the answer to the oldest message, once known. Cancel-safe.
async fn front_answer(pending: &mut VecDeque<Pending>) -> (i64, Answer) {
    let Some(front) = pending.front_mut() else { return std::future::pending().await };
    let id = front.id;
    let answer = match &mut front.task {
        Task::Failed(failure) => Err(failure.clone()),
        Task::Unit(unit) => unit.outcome().await.map(Answer::Unit),
        Task::Reset(reset) => reset.outcome().await.map(Answer::Reset),
    };
    pending.pop_front();
    (id, answer.unwrap_or_else(Answer::Failed))
}
