//! The actor of one reader: a task that owns the reader's schedule, life cycle and leases, gives the card thread its
//! jobs, and publishes the reader's status. It carries out the decisions of the pure parts: the rule of turns, the
//! card's life cycle, the lease, and the two machines in `machine`.
//!
//! | part | concern |
//! | --- | --- |
//! | `setup` | the inputs of an actor, and its start |
//! | `machine` | the reader's phase and the card thread's work, drawn |
//! | `reports` | reports of the card thread, events of the monitor, the stop |
//! | `turns` | requests, and the choice of the next turn |
//! | `sessions` | how a session begins, when it must give way, how it ends |
//! | `clock` | when something is due, and calls that do not return |
//! | `thread_end` | jobs that the card thread does not get, and its unexpected end |
//! | `queries` | queries of the turns and of the whole reader, and operators that end a turn |
//! | `journal` | what the reader's journal records |
//! | `publish` | the reader's status for watchers |

mod clock;
mod journal;
mod machine;
mod publish;
mod queries;
mod reports;
mod sessions;
mod setup;
#[cfg(test)]
mod tests;
mod thread_end;
mod turns;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as thread_mpsc,
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::CallerKey,
    card::marks::CardMarks,
    error::{Failure, Reason},
    journal::Origin,
    lifecycle::{Action, CardLifecycle},
    slot::ResetKind,
    status::ReaderStatus,
    turns::{
        lease::{LeaseNumber, Leases},
        request::RequestNumber,
        turn::Disposition,
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use self::{
    journal::SessionTurn,
    machine::{ReaderPhase, WorkerState},
    sessions::ActiveSession,
    turns::Positions,
};
pub use self::{
    reports::Event,
    setup::{ReaderSetup, spawn},
};
use crate::{
    journal::JournalHandle,
    policy::access::PolicyInForce,
    reader::{
        handle::{ResetRequest, TurnsMoved},
        inbox::{Message, Query, SessionOver, Waiting},
        jobs::{CallWatchdog, Job, Report},
        schedule::ReaderSchedule,
        statuses::StatusPublisher,
        ticket::Ticket,
    },
};

/// The state of one reader's actor. Only the actor's task reads and writes it; the rest of the broker has a handle.
struct Actor {
    /// The reader's id, for logs. Changed by [`Event::Renamed`].
    id: String,
    /// The maximum time of one call of the card stack in a unit or a session. Never changes.
    exchange_timeout: Duration,
    /// The receiver of status changes. The registry sets it; called at each change, and for the last time at the stop.
    publisher: StatusPublisher,
    /// The status that watchers have. `None` while the reader is unplugged.
    published: Option<ReaderStatus>,
    /// When the state in `published` began.
    state_since: Instant,
    /// The reader's journal. The card thread and the accesses of requests record into it, too.
    journal: JournalHandle,
    /// The insertion that the journal has recorded last; empty before the first one.
    recorded_insertion: String,
    /// The operator who has released the turn in progress. Set by `queries`, taken when the turn has ended.
    released_by: Option<Arc<Origin>>,
    /// The rule of turns and the waiting requests. A request leaves it for its turn, or with its failure.
    schedule: ReaderSchedule,
    /// When the rule is asked again without an event. Set by each step.
    next_check: Option<Instant>,
    /// The reset of the card between groups. Never changes.
    isolation_reset: ResetKind,
    /// The policy, from the broker. A change wakes the actor, which ends a session that the new rules forbid.
    policy: PolicyInForce,
    /// When waiters for a session get their position next.
    positions: Positions,
    /// The length of the queue. Written here after each step, read by handles.
    waiting: Arc<AtomicUsize>,
    /// Wakes the watchers of turns, at all readers, when something may have changed.
    turns_moved: TurnsMoved,
    /// The state of the reader's card, and the next action.
    lifecycle: CardLifecycle,
    /// Counters of the card's resets and selections. The card thread writes them, sessions read them.
    marks: Arc<CardMarks>,
    /// The latest request for a reset between turns. Handles write it.
    reset_request: watch::Receiver<Option<ResetRequest>>,
    /// The caller of the latest turn. Set by [`Actor::note_caller`].
    last_caller: Option<CallerKey>,
    /// The right to send to the card. Granted with each turn; the current lease ends here, at the latest with the next.
    leases: Leases,
    /// To the card thread. Sessions hold clones; the thread releases the card and ends when the last one is dropped.
    jobs: thread_mpsc::SyncSender<Job>,
    /// Set by the card thread around each call of the card stack, read by `clock`.
    watchdog: CallWatchdog,
    /// The current work of the card thread, and whether it is stuck.
    worker: WorkerState<Work>,
    /// Whether the reader is plugged in, and the progress of its end.
    phase: ReaderPhase,
}

/// The current work of the card thread.
enum Work {
    /// The thread takes, resets or releases the card without a request.
    Handling,
    /// The thread runs the unit that has the turn.
    Unit {
        /// The unit. The thread has another handle, and ends it.
        ticket: Arc<Ticket>,
        /// The disposition of the card after the unit.
        disposition: Disposition,
        /// The lease of the turn.
        lease: LeaseNumber,
        /// The beginning of the turn.
        since: Instant,
    },
    /// The thread resets the card for the session that has the turn.
    Opening {
        /// The number by which the caller may cancel it.
        number: RequestNumber,
        /// The request, whose purpose is a session. Granted or refused once the card is reset.
        waiting: Waiting,
        /// The beginning of the turn.
        since: Instant,
    },
    /// The thread serves a session, whose tasks bypass the actor. Between them the thread is in no call.
    Session(Box<ActiveSession>),
    /// The thread does the last tasks of a session; then it resets the card or leaves it.
    EndOfSession {
        /// The turn of the session that ends.
        turn: SessionTurn,
        /// To the holder, which must know if the driver hangs in a last task. Dropped when the card is done.
        over: watch::Sender<Option<SessionOver>>,
        /// To a holder that waits for the end. `None` without one, or after the answer.
        done: Option<oneshot::Sender<()>>,
    },
}

impl Actor {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut queries: mpsc::Receiver<Query>,
        mut events: mpsc::Receiver<Event>,
        mut reports: mpsc::Receiver<Report>,
        shutdown: CancellationToken,
    ) {
        let mut may_have_moved = false;
        loop {
            self.advance(Instant::now());
            self.publish(Instant::now());
            if may_have_moved {
                self.turns_moved.notify();
            }
            may_have_moved = true;
            if self.is_over() {
                // Later requests find the inbox closed; the ones in it are answered.
                messages.close();
                while let Ok(message) = messages.try_recv() {
                    self.on_message(message);
                }
                return;
            }
            let wakeup = sleep_until(self.wakeup(Instant::now()).into());
            tokio::select! {
                biased;
                report = reports.recv() => match report {
                    Some(report) => self.on_report(report, Instant::now()),
                    None => self.on_thread_ended(Instant::now()),
                },
                Some(event) = events.recv() => self.on_event(event, Instant::now()),
                () = shutdown.cancelled(), if !self.phase.is_ending() => self.stop(Instant::now()),
                () = self.schedule.group_ends() => {}
                // Before the messages: a session that closes now closes by the new rules.
                Ok(()) = self.policy.changed() => self.end_forbidden_session(),
                Ok(()) = self.reset_request.changed() => {}
                Some(message) = messages.recv() => self.on_message(message),
                // After the messages: a query delays no request for a turn.
                Some(query) = queries.recv() => {
                    may_have_moved = matches!(query, Query::Release { .. });
                    self.on_query(query, Instant::now());
                }
                () = wakeup => self.journal.expire(Instant::now()),
            }
        }
    }

    /// Does all that is due at `now`: detects a call that hangs, ends a session that must give way, gives the card
    /// thread jobs and requests their turns, expires requests, and sends waiters their positions.
    fn advance(&mut self, now: Instant) {
        self.next_check = None;
        self.check_for_hang(now);
        self.schedule.check_group();
        self.judge_session(now);
        while !self.phase.is_ending() && self.worker.is_idle() {
            if let Some(kind) = self.due_reset().filter(|_| self.lifecycle.card().is_some()) {
                self.start(Job::Reset(kind), Work::Handling);
                break;
            }
            match self.lifecycle.take_action(now, !self.schedule.is_empty()) {
                None => break,
                Some(Action::Take) => self.start(Job::Take, Work::Handling),
                Some(Action::ColdReset) => self.start(Job::ColdReset, Work::Handling),
                Some(Action::Release) => self.start(Job::Release, Work::Handling),
                Some(Action::Serve) if self.serve_next(now) => {}
                Some(Action::Serve) => break,
            }
        }
        self.bound_turn(now);
        // After the turns, so that a request with a zero timeout gets a free card.
        while let Some(waiting) = self.schedule.pop_expired(now) {
            let message = "the turn did not come within wait_timeout: retry, or wait longer";
            self.refuse(waiting, Failure::not_sent(Reason::QueueTimeout, message), now);
        }
        self.waiting.store(self.schedule.len(), Ordering::Relaxed);
        self.send_positions(now);
    }

    /// The reset that is due outside of any turn: no member of the group is left that may use the state in the card, or
    /// a caller without a turn has requested it and there was none since.
    fn due_reset(&self) -> Option<ResetKind> {
        let requested = self.reset_request.borrow().filter(|request| request.resets == self.marks.resets());
        let isolation = self.schedule.is_reset_due().then_some(self.isolation_reset);
        requested.map(|request| request.kind).max(isolation)
    }

    /// Gives the idle card thread a job.
    fn start(&mut self, job: Job, work: Work) {
        self.worker.begin(work);
        self.send(job);
    }

    /// Whether the actor's task may end: the card was released, or the thread is stuck in a call that is abandoned.
    fn is_over(&self) -> bool {
        match self.phase {
            ReaderPhase::Unplugged | ReaderPhase::Plugged => false,
            ReaderPhase::Draining => self.worker.hangs(),
            ReaderPhase::Released | ReaderPhase::Failed => true,
        }
    }
}
