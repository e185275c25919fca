//! The handle of a reader, through which the rest of the broker requests turns.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use cardbroker_core::{
    caller::{Caller, CallerKey},
    card::{
        marks::CardMarks,
        unit::{UnitOutcome, UnitRequest},
    },
    error::{Failure, Reason},
    slot::ResetKind,
    turns::{limits::QueueLimits, waiting::Turns},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    inbox::{
        CancelOnDrop, Manner, Message, Purpose, Query, SessionRequest, UnitTicket, Waiting, reader_ended, shutting_down,
    },
    session::Opening,
    snapshot::{ReaderSnapshot, Release, Released},
    ticket::{Answers, Ticket},
};
use crate::{caller::group::GroupMark, journal::JournalHandle, policy::access::Access};

/// Maximum queries of the turns in progress at one reader.
const MAX_QUERIES: usize = 256;

/// Requests turns at one reader. Cheap to clone; the reader outlives its handles.
#[derive(Clone)]
pub struct ReaderHandle {
    /// To the actor. Closed when it has ended.
    inbox: mpsc::Sender<Message>,
    /// To the actor, beside the inbox, so that queries take no reserved message of a request.
    queries: mpsc::Sender<Query>,
    /// The number of waiting requests. The actor writes it.
    waiting: Arc<AtomicUsize>,
    /// The reader's journal, into which accesses record denials, too.
    journal: JournalHandle,
    /// The marks of the reader's card. The gate writes them.
    marks: Arc<CardMarks>,
    /// To the actor, beside the inbox, so that it is never full: the greatest request so far.
    reset_request: watch::Sender<Option<ResetRequest>>,
    /// The number of the next request. All handles of the reader share it.
    last_number: Arc<AtomicU64>,
    /// Cancelled when the broker stops: without it, an actor that has ended has failed.
    shutdown: CancellationToken,
}

/// The receiving end of a [`ReaderHandle`], for the reader's actor.
pub struct Requests {
    /// Requests and cancellations. Dropping it refuses all later ones.
    pub(super) messages: mpsc::Receiver<Message>,
    /// Queries of the turns, beside the messages.
    pub(super) queries: mpsc::Receiver<Query>,
    /// The number of waiting requests, for the actor to write.
    pub(super) waiting: Arc<AtomicUsize>,
    /// The journal that the actor and its thread record into.
    pub(super) journal: JournalHandle,
    /// The marks of the reader's card, for the gate to write.
    pub(super) marks: Arc<CardMarks>,
    /// The latest request for a reset between turns.
    pub(super) reset_request: watch::Receiver<Option<ResetRequest>>,
}

/// A request for a reset between turns. The one after more resets is greater, and then the colder one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResetRequest {
    /// The number of resets at the request. With one more the request is fulfilled.
    pub(super) resets: u64,
    pub(super) kind: ResetKind,
}

/// Wakes the watchers of turns when something may have changed at some reader. Clones wake the same watchers. Costs an
/// atomic load while there are none.
#[derive(Clone, Default)]
pub struct TurnsMoved(watch::Sender<()>);

impl TurnsMoved {
    /// Returns a receiver of all changes from now on.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }

    /// Wakes the watchers: something may have changed.
    pub(super) fn notify(&self) {
        if self.0.receiver_count() > 0 {
            self.0.send_replace(());
        }
    }
}

impl ReaderHandle {
    /// Creates a handle and its receiving end. `shutdown` is cancelled when the broker stops.
    pub fn new(journal: JournalHandle, limits: QueueLimits, shutdown: CancellationToken) -> (Self, Requests) {
        // Two reserved messages for each request that may wait, one of them for its cancellation, and some for requests
        // that are refused at once.
        let (inbox, messages) = mpsc::channel(2 * limits.per_reader + 64);
        let (queries, query_queue) = mpsc::channel(MAX_QUERIES);
        let waiting = Arc::<AtomicUsize>::default();
        let marks = Arc::<CardMarks>::default();
        let (reset_request, requested_reset) = watch::channel(None);
        let requests = Requests {
            messages,
            queries: query_queue,
            waiting: Arc::clone(&waiting),
            journal: journal.clone(),
            marks: Arc::clone(&marks),
            reset_request: requested_reset,
        };
        let last_number = Arc::default();
        (Self { inbox, queries, waiting, journal, marks, reset_request, last_number, shutdown }, requests)
    }

    /// The journal of the reader, for its requests.
    pub fn journal(&self) -> &JournalHandle {
        &self.journal
    }

    /// The marks of the reader's card, between turns, too.
    pub fn marks(&self) -> &CardMarks {
        &self.marks
    }

    /// Has the card reset at the end of the turn in progress, before all waiting requests. No effect if the card has
    /// been reset or replaced since it had `resets` resets. Takes no place in the queue, so it cannot be refused.
    pub fn reset_after_turn(&self, resets: u64, kind: ResetKind) {
        let request = Some(ResetRequest { resets, kind });
        self.reset_request.send_if_modified(|latest| {
            let is_greater = *latest < request;
            if is_greater {
                *latest = request;
            }
            is_greater
        });
    }

    /// Returns the turns as `caller` may see them; `None` if the reader's actor has ended, or has too many queries in
    /// progress. The query is sent at once, not when the future is first polled. A reader without waiters is not
    /// queried.
    pub fn turns(&self, caller: &Caller) -> impl Future<Output = Option<Turns>> + Send + use<> {
        let nobody = (self.waiting.load(Ordering::Relaxed) == 0).then(Turns::default);
        let answer = nobody.is_none().then(|| self.query(|reply| Query::Turns { caller: caller.clone(), reply }));
        async move {
            match answer.flatten() {
                Some(answer) => answer.await.ok(),
                None => nobody,
            }
        }
    }

    /// Returns the reader as an operator sees it; `None` as in [`ReaderHandle::turns`]. The query is sent at once.
    pub fn snapshot(&self) -> impl Future<Output = Option<ReaderSnapshot>> + Send + use<> {
        let answer = self.query(|reply| Query::Snapshot { reply });
        async move { answer?.await.ok() }
    }

    /// Ends a turn. The inner `None` means that the lease is not the current one; the outer one is as in
    /// [`ReaderHandle::turns`].
    pub fn release(&self, release: Release) -> impl Future<Output = Option<Option<Released>>> + Send + use<> {
        let answer = self.query(|reply| Query::Release { release, reply });
        async move { answer?.await.ok() }
    }

    /// Sends a query, and returns the receiver of its answer; `None` if the actor does not take it.
    fn query<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.queries.try_send(query(reply)).ok().map(|()| answer)
    }

    /// Requests a turn for a unit. Dropping the submission cancels it, if the unit has not begun.
    ///
    /// # Errors
    /// [`Reason::QueueFull`] if the reader has no room for another request, [`Reason::ShuttingDown`] if the
    /// broker is stopping, [`Reason::Internal`] if the reader's actor has ended by itself.
    pub fn submit(
        &self,
        access: Access,
        group: GroupMark,
        request: UnitRequest,
        now: Instant,
    ) -> Result<Submission, Failure> {
        let caller = access.caller().key;
        let UnitRequest { commands, turn, disposition } = request;
        let (ticket, answers) = Ticket::new(commands, Some(turn.clone()), access, now);
        let ticket = Arc::new(ticket);
        let purpose = Purpose::Unit(UnitTicket { ticket: Arc::clone(&ticket), turn, disposition });
        let cancel = self.send(caller, group, |cancel| (purpose, cancel)).inspect_err(|failure| {
            ticket.end_waiting(failure.clone());
        })?;
        Ok(Submission { ticket, answers, cancel })
    }

    /// Requests a turn for a session. Dropping the result cancels the request.
    ///
    /// # Errors
    /// The same as of [`ReaderHandle::submit`].
    pub fn open_session(
        &self,
        access: Access,
        group: GroupMark,
        request: SessionRequest,
        now: Instant,
    ) -> Result<Opening, Failure> {
        self.send(access.caller().key, group, |cancel| {
            let (opening, ticket) = Opening::new(request, access, now, cancel);
            (Purpose::Session(Box::new(ticket)), opening)
        })
    }

    /// Reserves two messages in the inbox, one for the request and one for its cancellation, so that cancelling can
    /// neither block nor fail; then sends the request that `make` builds.
    fn send<T>(
        &self,
        caller: CallerKey,
        group: GroupMark,
        make: impl FnOnce(CancelOnDrop) -> (Purpose, T),
    ) -> Result<T, Failure> {
        let submit = self.inbox.clone().try_reserve_owned().map_err(|error| self.refused(&error))?;
        let cancel = self.inbox.clone().try_reserve_owned().map_err(|error| self.refused(&error))?;
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let (purpose, kept) = make(CancelOnDrop::new(cancel, number));
        submit.send(Message::Submit { number, caller, waiting: Waiting { group, purpose } });
        Ok(kept)
    }

    fn refused(&self, error: &TrySendError<mpsc::Sender<Message>>) -> Failure {
        match error {
            TrySendError::Full(_) => {
                Failure::not_sent(Reason::QueueFull, "too many requests wait for this reader: retry later")
            }
            TrySendError::Closed(_) if self.shutdown.is_cancelled() => shutting_down(),
            TrySendError::Closed(_) => reader_ended(),
        }
    }
}

/// A unit on its caller's side. Dropping it cancels the unit, if it has not begun.
pub struct Submission {
    /// The unit, shared with the actor and the card thread.
    ticket: Arc<Ticket>,
    /// The receivers of the outcome.
    answers: Answers,
    /// The cancellation of the request. Disarmed once the outcome is known.
    cancel: CancelOnDrop,
}

impl Submission {
    /// Waits for the outcome, which comes by itself within the request's `wait_timeout` and the exchange timeouts of
    /// its commands. Cancel-safe.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn outcome(&mut self) -> Result<UnitOutcome, Failure> {
        let outcome = (&mut self.answers.first).await;
        self.cancel.forget();
        outcome.unwrap_or_else(|_| {
            Err(Failure::unknown(
                Reason::Internal,
                "the reader's task has ended: restart the broker and report the fault",
            ))
        })
    }

    /// Ends the wait at the caller's deadline: a unit that has not begun is not sent, a running one continues without
    /// the caller. [`Submission::outcome`] then returns at once.
    pub fn give_up(&mut self, now: Instant) {
        let late = "the turn did not come before the call's deadline: retry with a later one";
        if !self.withdraw(Failure::not_sent(Reason::QueueTimeout, late)) {
            let late = "the call's deadline is near and the unit has begun: check the card before you continue";
            self.ticket.end_early(Failure::unknown(Reason::DeadlineNear, late), now);
        }
    }

    /// Cancels a unit that has not begun, and its request: `failure` is its outcome. Returns `false` if it has begun or
    /// ended.
    pub fn withdraw(&mut self, failure: Failure) -> bool {
        let is_withdrawn = self.ticket.end_waiting(failure);
        if is_withdrawn {
            self.cancel.send(Manner::Abruptly);
        }
        is_withdrawn
    }

    /// The ticket, for repeats that join it. It lives as long as the unit waits or runs.
    pub fn ticket(&self) -> Weak<Ticket> {
        Arc::downgrade(&self.ticket)
    }

    /// Waits for the final outcome of a unit whose first one was unknown; `None` if there will be none.
    pub async fn late_outcome(&mut self) -> Option<Result<UnitOutcome, Failure>> {
        (&mut self.answers.late).await.ok()
    }
}
