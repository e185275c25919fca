//! The messages of a session that its front door has read: each is answered once and in order, whatever ends the
//! session. The end itself is told after the last answer and concerns only messages that were not read.

use std::{collections::VecDeque, time::Instant};

use cardbroker_core::{
    card::unit::{UnitCommand, UnitOutcome},
    error::{Delivery, Failure},
    slot::{CardInfo, ResetKind},
    status::preceding_failed,
};

use super::{
    jobs::MAX_PIPELINED,
    session::{Session, SessionEvent},
    session_task::{SessionReset, SessionUnit},
};

/// An open session with its messages under way.
pub struct Pipeline {
    /// The session itself. Dropping it ends the session abruptly.
    session: Session,
    /// The messages that were read and not answered yet, in order.
    pending: VecDeque<Pending>,
    /// A message has failed here, before it could be handed on, and none since has restarted.
    failed: bool,
    /// Why the session is over, if it is.
    over: Option<Failure>,
}

struct Pending {
    /// The client's number of the message.
    id: i64,
    /// Its task, or its failure.
    task: Task,
}

enum Task {
    Unit(SessionUnit),
    Reset(SessionReset),
    Failed(Failure),
}

/// News from a session for its client.
#[derive(Debug)]
pub enum Delivered {
    /// The answer to the message of that id.
    Answer(i64, Answer),
    /// The number of callers that wait.
    Waiters(usize),
}

/// The answer to a message.
#[derive(Debug)]
pub enum Answer {
    /// The outcome of its commands.
    Unit(UnitOutcome),
    /// The card after the reset.
    Reset(CardInfo),
    /// It failed, with the delivery of its first command. The session may go on.
    Failed(Failure),
}

impl Pipeline {
    /// Of a session that has just begun.
    pub fn new(session: Session) -> Self {
        Self { session, pending: VecDeque::with_capacity(MAX_PIPELINED), failed: false, over: None }
    }

    /// Whether another message may be read.
    pub fn has_room(&self) -> bool {
        self.over.is_none() && self.pending.len() < MAX_PIPELINED
    }

    /// Whether every message is answered and nothing has ended the session.
    pub fn is_idle(&self) -> bool {
        self.over.is_none() && self.pending.is_empty()
    }

    /// Takes in a message that asks for commands, or what is wrong with them: that is answered in the message's turn.
    /// `restart` forgets an earlier failure. Not to be called without room.
    pub fn transmit(&mut self, id: i64, unit: Result<Vec<UnitCommand>, Failure>, restart: bool, now: Instant) {
        self.take_in(id, restart, |session| session.transmit(unit?, restart, now).map(Task::Unit));
    }

    /// Takes in a message that asks for a reset. As [`Pipeline::transmit`].
    pub fn reset(&mut self, id: i64, kind: Result<ResetKind, Failure>, restart: bool) {
        self.take_in(id, restart, |session| session.reset(kind?, restart).map(Task::Reset));
    }

    fn take_in(&mut self, id: i64, restart: bool, ask: impl FnOnce(&Session) -> Result<Task, Failure>) {
        self.failed &= !restart;
        let task = if self.failed { Err(preceding_failed()) } else { ask(&self.session) };
        self.failed |= task.is_err();
        self.pending.push_back(Pending { id, task: task.unwrap_or_else(Task::Failed) });
    }

    /// Ends the session for a reason of its front door's: nothing more is read, and what was read is done and answered
    /// first. The first reason counts.
    pub fn end(&mut self, failure: Failure) {
        self.over.get_or_insert(Failure { delivery: Delivery::NotSent, ..failure });
    }

    /// Ends the session now: what was read is answered at once with what is known. The command in flight is unknown and
    /// goes on; nothing behind it begins.
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

    /// Waits for what there is to tell. Cancel-safe. Pending as long as nothing is: a front door reads messages and
    /// sends heartbeats meanwhile.
    ///
    /// # Errors
    /// Why the session is over, once every message is answered; its delivery is [`Delivery::NotSent`].
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

    /// As [`Session::close`]. To be called when it is idle and its holder has said that it wants nothing more.
    pub fn close(self) -> impl Future<Output = ()> + Send + use<> {
        self.session.close()
    }
}

/// The answer to the oldest message, once it is there. Cancel-safe.
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
