//! A session: a lease on its holder's side. Its commands go straight to the card thread; only its beginning and its end
//! involve the actor. Dropping it returns the lease at once and cannot block or fail: the inbox slot for that message
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
    card::{marks::CardMarks, unit::UnitCommand},
    error::{Failure, Reason},
    policy::rule::Operation,
    slot::{Protocol, ResetKind},
    turns::{lease::Terms, turn::Turn},
};
use tokio::sync::{oneshot, watch};

use super::{
    inbox::{CancelOnDrop, Grant, Manner, SessionTicket, reader_ended},
    jobs::{Claim, Job, SessionJob, SessionTask},
    spans::SessionSpan,
    ticket::Ticket,
};
pub use super::{
    inbox::{SessionOver, SessionRequest},
    session_task::{SessionReset, SessionUnit},
};
use crate::policy::access::Access;

/// The maximum idle time while others wait, for requests without one.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(10);
/// The allowed idle timeouts of a session's request.
pub const IDLE_RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A waiting session on its caller's side. Dropping it cancels the request.
pub struct Opening {
    /// When the reader's handle took the request.
    arrived: Instant,
    /// The caller and its permissions, for the session.
    access: Access,
    /// From the actor: the turn, or the failure.
    grant: oneshot::Receiver<Result<Grant, Failure>>,
    /// From the actor: the number of turns before this one.
    turns_ahead: watch::Receiver<usize>,
    /// The cancellation. The session takes it over; `None` after that, or after a refusal.
    cancel: Option<CancelOnDrop>,
    /// The number of units, for the session's line in the log.
    units: Arc<AtomicU32>,
}

impl Opening {
    pub(super) fn new(
        request: SessionRequest,
        access: Access,
        now: Instant,
        cancel: CancelOnDrop,
    ) -> (Self, SessionTicket) {
        let (grant, granted) = oneshot::channel();
        let (position, turns_ahead) = watch::channel(0);
        let units = Arc::default();
        let record = SessionSpan::new(access.clone(), now, Arc::clone(&units));
        let ticket =
            SessionTicket { request, access: access.clone(), arrived: now, grant, turns_ahead: position, record };
        (Self { arrived: now, access, grant: granted, turns_ahead, cancel: Some(cancel), units }, ticket)
    }

    /// Waits for the turn, or for a change of its position. Cancel-safe; must not be called again once the turn has
    /// come.
    ///
    /// # Errors
    /// The failure, if there will be no turn.
    pub async fn next(&mut self) -> Result<OpeningEvent, Failure> {
        tokio::select! {
            biased;
            granted = &mut self.grant => {
                let granted = granted.unwrap_or_else(|_| Err(reader_ended()));
                granted.and_then(|grant| self.begin(grant)).inspect_err(|_| self.cancel = None)
            }
            Ok(()) = self.turns_ahead.changed() => Ok(OpeningEvent::TurnsAhead(*self.turns_ahead.borrow_and_update())),
        }
    }

    fn begin(&mut self, grant: Grant) -> Result<OpeningEvent, Failure> {
        let cancel = self.cancel.take().ok_or_else(reader_ended)?;
        let queue_duration = grant.turn.began.saturating_duration_since(self.arrived);
        let (access, failed) = (self.access.clone(), Arc::default());
        let units = Arc::clone(&self.units);
        Ok(OpeningEvent::Begun(Box::new(Session { grant, access, queue_duration, cancel, failed, units })))
    }
}

/// An event for a caller that waits for a session.
pub enum OpeningEvent {
    /// The number of turns before its own.
    TurnsAhead(usize),
    /// The turn has come, and the session begins.
    Begun(Box<Session>),
}

async fn over(news: &mut watch::Receiver<Option<SessionOver>>) -> SessionOver {
    let is_over = news.changed().await.is_ok();
    let over = news.borrow_and_update().clone();
    match over.filter(|_| is_over) {
        Some(over) => over,
        // There are no more changes of the position.
        None => std::future::pending().await,
    }
}

/// An event of a session that its holder has not requested.
pub enum SessionEvent {
    /// The session was ended. Comes a second time, with [`SessionOver::hangs`], if the driver hangs in a task that was
    /// requested before the end. The first event has the cause of the end, the second one the failure of the tasks in
    /// progress.
    Over(SessionOver),
    /// The number of waiting callers.
    Waiters(usize),
}

/// An open session. Dropping it ends it abnormally: unsent commands are not sent, and the card is reset.
pub struct Session {
    /// The turn, with the channels to the card thread and from the actor.
    grant: Grant,
    /// The caller and its permissions. Checked before each task.
    access: Access,
    /// From the arrival of the request to the turn.
    queue_duration: Duration,
    /// The return of the lease; dropping it is an abnormal end.
    cancel: CancelOnDrop,
    /// Whether a task has failed and none since has restarted. The card thread writes it.
    failed: Arc<AtomicBool>,
    /// The number of requested units. The actor reads it at the end.
    units: Arc<AtomicU32>,
}

impl Session {
    /// The turn of this session.
    pub fn turn(&self) -> &Turn {
        &self.grant.turn
    }

    /// The card's answer to reset at the beginning.
    pub fn atr(&self) -> &[u8] {
        &self.grant.card.atr
    }

    /// The card's protocol at the beginning.
    pub fn protocol(&self) -> Protocol {
        self.grant.card.protocol
    }

    /// Counters of the card's resets and selections so far, by this session and by earlier turns.
    pub fn marks(&self) -> &CardMarks {
        &self.grant.marks
    }

    /// The number of callers that wait for the reader.
    pub fn waiters(&self) -> usize {
        *self.grant.waiters.borrow()
    }

    /// Whether one of them belongs to another isolation group.
    pub fn others_wait(&self) -> bool {
        self.grant.others_wait.load(Ordering::Relaxed)
    }

    /// Whether the session's next command completes a chain or an answer.
    pub fn is_pair_open(&self) -> bool {
        self.grant.activity.is_pair_open()
    }

    /// Changes the terms on which the session gives way when it idles. Shorter times have effect within a second.
    pub fn set_terms(&self, terms: Terms) {
        self.grant.activity.set_terms(terms);
    }

    /// How long the session waited for its turn.
    pub fn queue_duration(&self) -> Duration {
        self.queue_duration
    }

    /// Requests a unit. `restart` clears an earlier failure. Must not be called with [`super::MAX_PIPELINED`] tasks in
    /// progress.
    ///
    /// # Errors
    /// The session is over, or policy denies a command for every selection.
    pub fn transmit(&self, commands: Vec<UnitCommand>, restart: bool, now: Instant) -> Result<SessionUnit, Failure> {
        self.access.check_commands(&commands)?;
        let (ticket, answers) = Ticket::new(commands, None, self.access.clone(), now);
        let ticket = Arc::new(ticket);
        let turn = Turn { began: now, reset: false, ..self.grant.turn.clone() };
        let task = SessionTask::Unit { ticket: Arc::clone(&ticket), turn };
        self.send_task(task, restart).inspect_err(|failure| {
            ticket.end_waiting(failure.clone());
        })?;
        self.units.fetch_add(1, Ordering::Relaxed);
        Ok(SessionUnit::new(ticket, answers.first))
    }

    /// Requests a reset; the answer is the card's facts after it. Otherwise like [`Session::transmit`].
    ///
    /// # Errors
    /// The session is over, or policy denies the reset.
    pub fn reset(&self, kind: ResetKind, restart: bool) -> Result<SessionReset, Failure> {
        self.access.check(Operation::Reset)?;
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        self.send_task(SessionTask::Reset { kind, claim: claim.clone(), reply }, restart)?;
        Ok(SessionReset::new(claim, answer))
    }

    fn send_task(&self, task: SessionTask, restart: bool) -> Result<(), Failure> {
        self.grant.activity.on_task();
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
                    Failure::not_sent(Reason::QueueFull, "too many unanswered messages: wait for answers")
                }
                TrySendError::Disconnected(_) => reader_ended(),
            }
        })
    }

    /// Waits for an event. Cancel-safe; pending forever once there can be no more.
    pub async fn news(&mut self) -> SessionEvent {
        tokio::select! {
            biased;
            over = over(&mut self.grant.over) => SessionEvent::Over(over),
            Ok(()) = self.grant.waiters.changed() => SessionEvent::Waiters(*self.grant.waiters.borrow_and_update()),
        }
    }

    /// Ends the session normally, after its last answer. Returns when the card's disposition is carried out. If the
    /// driver hangs in that, or the reset fails, it returns then: the card is reset before another caller's turn. The
    /// message is sent at once, not when the future is first polled; dropping the future only stops waiting.
    pub fn close(mut self) -> impl Future<Output = ()> + Send + use<> {
        let (done, is_done) = oneshot::channel();
        self.cancel.send(Manner::InOrder { done });
        async move {
            // An error means that the session was over already.
            let _ = is_done.await;
        }
    }
}
