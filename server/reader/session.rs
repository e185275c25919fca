//! A session: a lease on its holder's side. Its commands go straight to the card thread; the actor is asked only at its
//! beginning and its end. Dropping it returns the lease at once and cannot block or be lost: the place for that message
//! was reserved before.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::TrySendError,
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::unit::{UnitCommand, headers},
    error::{Failure, Reason},
    policy::rule::Operation,
    slot::ResetKind,
    turns::turn::Turn,
};
use tokio::sync::{oneshot, watch};

use super::{
    inbox::{CancelSlot, Grant, Manner, SessionTicket},
    jobs::{Claim, Job, SessionJob, SessionTask},
    spans::SessionRecord,
    ticket::Ticket,
};
pub use super::{
    inbox::{SessionOver, SessionRequest},
    session_task::{SessionReset, SessionUnit},
};
use crate::policy::access::Access;

/// How long a session may idle while others wait, if its request does not say.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(10);
/// The idle timeouts that a session's request may set.
pub const IDLE_RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A session that waits, on its caller's side. Dropping it gives up.
pub struct Opening {
    /// When the reader's handle took the request.
    arrived: Instant,
    /// The caller, and what it may do, for the session.
    access: Access,
    /// From the actor: the turn, or why there is none.
    grant: oneshot::Receiver<Result<Grant, Failure>>,
    /// From the actor: the number of turns before this one.
    turns_ahead: watch::Receiver<usize>,
    /// The way to give up. The session takes it over; `None` after that, or after a refusal.
    give_back: Option<CancelSlot>,
    /// The number of units, for the session's line in the log.
    units: Arc<AtomicU32>,
}

impl Opening {
    pub(super) fn new(
        request: SessionRequest,
        access: Access,
        now: Instant,
        give_back: CancelSlot,
    ) -> (Self, SessionTicket) {
        let (grant, granted) = oneshot::channel();
        let (position, turns_ahead) = watch::channel(0);
        let units = Arc::default();
        let record = SessionRecord::new(access.clone(), now, Arc::clone(&units));
        let ticket =
            SessionTicket { request, access: access.clone(), arrived: now, grant, turns_ahead: position, record };
        (Self { arrived: now, access, grant: granted, turns_ahead, give_back: Some(give_back), units }, ticket)
    }

    /// Waits for the turn, or for news of it. Cancel-safe; not to be called again once the turn has come.
    ///
    /// # Errors
    /// Why there is no turn.
    pub async fn next(&mut self) -> Result<OpeningEvent, Failure> {
        tokio::select! {
            biased;
            granted = &mut self.grant => {
                let granted = granted.unwrap_or_else(|_| Err(reader_ended()));
                granted.and_then(|grant| self.begin(grant)).inspect_err(|_| self.give_back = None)
            }
            Ok(()) = self.turns_ahead.changed() => Ok(OpeningEvent::TurnsAhead(*self.turns_ahead.borrow_and_update())),
        }
    }

    fn begin(&mut self, grant: Grant) -> Result<OpeningEvent, Failure> {
        let give_back = self.give_back.take().ok_or_else(reader_ended)?;
        let queue_duration = grant.turn.began.saturating_duration_since(self.arrived);
        let (access, failed) = (self.access.clone(), Arc::default());
        let units = Arc::clone(&self.units);
        Ok(OpeningEvent::Begun(Box::new(Session { grant, access, queue_duration, give_back, failed, units })))
    }
}

/// News for a caller that waits for a session.
pub enum OpeningEvent {
    /// The number of turns before its own.
    TurnsAhead(usize),
    /// The turn has come, and the session begins.
    Begun(Box<Session>),
}

fn reader_ended() -> Failure {
    Failure::not_sent(Reason::Internal, "the reader's task has ended: report this")
}

async fn over(news: &mut watch::Receiver<Option<SessionOver>>) -> SessionOver {
    let is_over = news.changed().await.is_ok();
    let over = news.borrow_and_update().clone();
    match over.filter(|_| is_over) {
        Some(over) => over,
        // The last has been said.
        None => std::future::pending().await,
    }
}

/// News for a session that come without a question.
pub enum SessionEvent {
    /// It has been ended. Comes a second time, with [`SessionOver::hangs`], if the driver hangs in what the session had
    /// asked for before its end. The first one says why the session is over, the second one what became of the tasks
    /// under way.
    Over(SessionOver),
    /// The number of callers that wait.
    Waiters(usize),
}

/// An open session. Dropping it ends it abruptly: commands that were not sent yet are not sent, and the card is reset.
pub struct Session {
    /// The turn, with the ways to the card thread and from the actor.
    grant: Grant,
    /// The caller, and what it may do. Asked before each task.
    access: Access,
    /// From the arrival of the request to the turn.
    queue_duration: Duration,
    /// The way to give the lease back; dropping it is an abrupt end.
    give_back: CancelSlot,
    /// Whether a task has failed and none since has restarted. The card thread writes it.
    failed: Arc<AtomicBool>,
    /// The number of units asked for. The actor reads it at the end.
    units: Arc<AtomicU32>,
}

impl Session {
    /// The turn that the session is.
    pub fn turn(&self) -> &Turn {
        &self.grant.turn
    }

    /// The card's answer to reset at the beginning.
    pub fn atr(&self) -> &[u8] {
        &self.grant.card.atr
    }

    /// How long the session waited for its turn.
    pub fn queue_duration(&self) -> Duration {
        self.queue_duration
    }

    /// Asks for commands to be run. `restart` forgets an earlier failure. Not to be called with
    /// [`super::MAX_PIPELINED`] tasks under way.
    ///
    /// # Errors
    /// The session is over, or policy denies a command whatever is selected.
    pub fn transmit(&self, commands: Vec<UnitCommand>, restart: bool, now: Instant) -> Result<SessionUnit, Failure> {
        self.access.check_headers(headers(&commands))?;
        let (ticket, answers) = Ticket::new(commands, None, self.access.clone(), now);
        let ticket = Arc::new(ticket);
        let turn = Turn { began: now, reset: false, ..self.grant.turn.clone() };
        let task = SessionTask::Unit { ticket: Arc::clone(&ticket), turn };
        self.ask(task, restart).inspect_err(|failure| {
            ticket.end_waiting(failure.clone());
        })?;
        self.units.fetch_add(1, Ordering::Relaxed);
        Ok(SessionUnit::new(ticket, answers.first))
    }

    /// Asks for a reset; the answer is the card as it is then. As [`Session::transmit`].
    ///
    /// # Errors
    /// The session is over, or policy denies it.
    pub fn reset(&self, kind: ResetKind, restart: bool) -> Result<SessionReset, Failure> {
        self.access.check(Operation::Reset)?;
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        self.ask(SessionTask::Reset { kind, claim: claim.clone(), reply }, restart)?;
        Ok(SessionReset::new(claim, answer))
    }

    fn ask(&self, task: SessionTask, restart: bool) -> Result<(), Failure> {
        self.grant.activity.asked();
        let job = SessionJob {
            lease: self.grant.lease.clone(),
            activity: Arc::clone(&self.grant.activity),
            failed: Arc::clone(&self.failed),
            restart,
            task,
        };
        self.grant.jobs.try_send(Job::Session(job)).map_err(|error| {
            self.grant.activity.done(Instant::now());
            match error {
                TrySendError::Full(_) => {
                    Failure::not_sent(Reason::QueueFull, "too many messages under way: wait for answers")
                }
                TrySendError::Disconnected(_) => reader_ended(),
            }
        })
    }

    /// Waits for news. Cancel-safe; pending for ever once there can be no more.
    pub async fn news(&mut self) -> SessionEvent {
        tokio::select! {
            biased;
            over = over(&mut self.grant.over) => SessionEvent::Over(over),
            Ok(()) = self.grant.waiters.changed() => SessionEvent::Waiters(*self.grant.waiters.borrow_and_update()),
        }
    }

    /// Ends the session in good order, after its last answer. Returns when the card is as the session's disposition
    /// says. If the driver hangs in that, or the reset fails, it returns then: the card is reset before anyone else's
    /// turn. Says so at once, and not only when the future is polled; dropping the future only stops waiting.
    pub fn close(mut self) -> impl Future<Output = ()> + Send + use<> {
        let (done, is_done) = oneshot::channel();
        self.give_back.send(Manner::InOrder { done });
        async move {
            // An error means that the session was over already.
            let _ = is_done.await;
        }
    }
}
