//! The actor of one reader: a task that owns the reader's queue, life and leases, tells the card thread what to do, and
//! publishes what watchers see. It carries out what `queue`, `life`, `isolation` and `lease` decide. Its parts: `turns`
//! (who gets the next one), `sessions` (how one begins and ends), `clock` (what is due when, and calls that hang),
//! `looks` (what those who wait may see).

mod clock;
mod looks;
mod sessions;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as thread_mpsc,
    },
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::CallerKey,
    card::pin_guard::{Guarded, PinGuard},
    error::{Failure, Reason},
    lifecycle::{Action, CardLifecycle},
    slot::{ResetKind, SlotStatus},
    status::{ReaderStatus, State},
    turns::{
        lease::Leases,
        queue::{self, Limits, Queue},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{sessions::Holding, turns::Positions};
use super::{
    card::{gate::Gate, thread as card_thread},
    handle::{Requests, TurnsMoved},
    inbox::{Look, Message, SessionOver, Waiting, shutting_down},
    isolation::Isolation,
    jobs::{CallWatchdog, Job, Report},
    statuses::StatusPublisher,
    ticket::Ticket,
};
use crate::process::random::hash_key;
use crate::{backend::Slot, caller::group::GroupMark, config::ReaderSettings, policy::access::PolicyInForce};

/// What the registry tells an actor about its reader.
#[derive(Debug)]
pub enum Event {
    /// The monitor has looked.
    Seen(SlotStatus),
    /// PC/SC is down, and why.
    Unavailable(String),
    /// The reader was unplugged. [`Event::Seen`] brings it back.
    Unplugged,
}

/// All that a reader's actor is made of.
pub struct ReaderSetup {
    /// The reader's id, for logs and the thread's name.
    pub id: String,
    /// What names of insertions and states begin with.
    pub identity: String,
    /// What the configuration says about the reader.
    pub settings: ReaderSettings,
    /// How many requests may wait.
    pub limits: Limits,
    /// How long a session may go on while others wait.
    pub max_contended_lease: Duration,
    /// What callers may do.
    pub policy: PolicyInForce,
    /// The hand on the card.
    pub slot: Box<dyn Slot>,
    /// Where its status goes.
    pub publisher: StatusPublisher,
    /// Where those hear of changes who follow turns.
    pub turns_moved: TurnsMoved,
    /// Where requests arrive.
    pub requests: Requests,
    /// Ends the actor.
    pub shutdown: CancellationToken,
}

/// Starts a reader as one of `tasks`. It ends after `shutdown`, when the unit under way has ended and the card was let go. Returns
/// where to tell it about its reader.
///
/// # Errors
/// If the system has no thread to give.
pub fn spawn(setup: ReaderSetup, tasks: &mut JoinSet<()>) -> io::Result<mpsc::Sender<Event>> {
    let (report, reports) = mpsc::channel(2);
    // Fails only when the actor has gone, and then nobody needs the report.
    let send_report = move |done| drop(report.blocking_send(done));
    let guarded = Guarded { known_wrong: setup.settings.pin_guard, last_try: setup.settings.guard_last_try };
    let gate = Gate::new(PinGuard::new(guarded, hash_key()?));
    let (jobs, watchdog) = card_thread::spawn(&setup.id, setup.slot, setup.settings.protocols, gate, send_report)?;

    let (events, event_queue) = mpsc::channel(8);
    let ReaderSettings { own, release_after, protocols, .. } = setup.settings;
    let lifecycle = CardLifecycle::new(own, release_after, protocols, setup.identity, Instant::now());
    let actor = Actor {
        exchange_timeout: setup.settings.exchange_timeout,
        id: setup.id,
        publisher: setup.publisher,
        published: None,
        queue: Queue::new(setup.limits),
        isolation: Isolation::default(),
        isolation_reset: setup.settings.isolation_reset,
        max_contended_lease: setup.max_contended_lease,
        policy: setup.policy,
        positions: Positions::default(),
        waiting: setup.requests.waiting,
        turns_moved: setup.turns_moved,
        lifecycle,
        leases: Leases::default(),
        jobs,
        watchdog,
        work: Work::None,
        hangs: false,
        plugged: false,
        stopping: false,
        released: false,
    };
    let Requests { messages, looks, .. } = setup.requests;
    tasks.spawn(actor.run(messages, looks, event_queue, reports, setup.shutdown));
    Ok(events)
}

struct Actor {
    id: String,
    exchange_timeout: Duration,
    publisher: StatusPublisher,
    published: Option<ReaderStatus>,
    queue: Queue<CallerKey, Waiting>,
    isolation: Isolation,
    isolation_reset: ResetKind,
    max_contended_lease: Duration,
    policy: PolicyInForce,
    positions: Positions,
    /// How many requests wait, for handles.
    waiting: Arc<AtomicUsize>,
    turns_moved: TurnsMoved,
    lifecycle: CardLifecycle,
    leases: Leases,
    jobs: thread_mpsc::SyncSender<Job>,
    watchdog: CallWatchdog,
    work: Work,
    /// The call under way has not returned in time.
    hangs: bool,
    plugged: bool,
    stopping: bool,
    /// The card was let go for good.
    released: bool,
}

/// What the card thread is at.
enum Work {
    None,
    /// Taking, resetting or releasing the card.
    Handling,
    Unit {
        ticket: Arc<Ticket>,
        group: GroupMark,
        since: Instant,
    },
    /// Resetting the card for a session that has the turn.
    Opening {
        number: queue::RequestNumber,
        waiting: Waiting,
        since: Instant,
    },
    /// What a session asks for.
    Session(Box<Holding>),
    /// The last of what a session has asked for; then the card is reset or left.
    EndOfSession {
        group: GroupMark,
        caller: CallerKey,
        since: Instant,
        /// Hears if the driver hangs in it.
        over: watch::Sender<Option<SessionOver>>,
        /// Hears when it is done.
        done: Option<oneshot::Sender<()>>,
    },
}

impl Actor {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut looks: mpsc::Receiver<Look>,
        mut events: mpsc::Receiver<Event>,
        mut reports: mpsc::Receiver<Report>,
        shutdown: CancellationToken,
    ) {
        let mut may_have_moved = false;
        loop {
            self.advance(Instant::now());
            self.publish();
            if may_have_moved {
                self.turns_moved.tell();
            }
            may_have_moved = true;
            // A call that hangs is left behind.
            if self.stopping && (self.released || self.hangs) {
                // Who asks from now on finds the inbox closed; who has asked is answered.
                messages.close();
                while let Ok(message) = messages.try_recv() {
                    self.on_message(message);
                }
                return;
            }
            let wakeup = sleep_until(self.wakeup(Instant::now()).into());
            tokio::select! {
                biased;
                Some(report) = reports.recv() => self.on_report(report, Instant::now()),
                Some(event) = events.recv() => self.on_event(event, Instant::now()),
                () = shutdown.cancelled(), if !self.stopping => self.stop(),
                () = self.isolation.reset_becomes_due() => {}
                // Before the messages: who leaves now leaves by the new rules.
                Ok(()) = self.policy.changed() => self.end_forbidden_session(),
                Some(message) = messages.recv() => self.on_message(message),
                // Behind the messages: whoever only looks delays nobody who wants a turn.
                Some(look) = looks.recv() => {
                    may_have_moved = false;
                    self.look(look);
                }
                () = wakeup => {}
            }
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        self.check_for_hang(now);
        self.judge_session(now);
        while !self.stopping && matches!(self.work, Work::None) {
            if self.isolation.is_reset_due() && self.lifecycle.card().is_some() {
                // Off the next caller's path: nobody is left who may use what is in the card.
                self.start(Job::Reset(self.isolation_reset), Work::Handling);
                break;
            }
            match self.lifecycle.take_action(now, !self.queue.is_empty()) {
                None => break,
                Some(Action::Take) => self.start(Job::Take, Work::Handling),
                Some(Action::ColdReset) => self.start(Job::ColdReset, Work::Handling),
                Some(Action::Release) => self.start(Job::Release, Work::Handling),
                Some(Action::Serve) => self.serve_next(now),
            }
        }
        // After the turns, so that a request which waits for no time at all gets a card that is free.
        while let Some(waiting) = self.queue.pop_expired(now) {
            waiting.end(Failure::not_sent(
                Reason::QueueTimeout,
                "the turn did not come within wait_timeout: retry, or wait longer",
            ));
        }
        self.waiting.store(self.queue.len(), Ordering::Relaxed);
        self.tell_positions(now);
    }

    fn start(&mut self, job: Job, work: Work) {
        self.work = work;
        self.hangs = false;
        // There is room: one job of ours at a time, and a session's are limited. The thread ends only after this actor.
        if self.jobs.try_send(job).is_err() {
            warn!(reader = %self.id, "the reader's card thread has ended");
            self.end_all(&Failure::not_sent(Reason::Internal, "the reader's thread has ended: report this"));
            self.publisher.publish(None);
            self.work = Work::None;
            (self.stopping, self.released) = (true, true);
        }
    }

    fn on_report(&mut self, report: Report, now: Instant) {
        debug!(reader = %self.id, ?report, "card thread");
        // Whatever hung has returned.
        self.hangs = false;
        let refusal = match report {
            Report::Took(taken) => {
                if let Err(error) = &taken {
                    debug!(reader = %self.id, %error, "the card could not be taken");
                }
                self.work = Work::None;
                self.isolation.reset();
                self.lifecycle.on_taken(taken, now)
            }
            Report::UnitEnded { end, raised } => {
                self.leases.end();
                let refusal = self.lifecycle.on_unit_ended(end, now);
                if let Work::Unit { ticket, group, .. } = std::mem::replace(&mut self.work, Work::None) {
                    self.isolation.used(&group, raised);
                    self.dispose(ticket.request.disposition);
                }
                refusal
            }
            Report::Reset(reset) => self.on_reset(reset, now),
            Report::ForeignReset(card) => {
                self.isolation.reset();
                self.lifecycle.on_foreign_reset(card, now)
            }
            Report::SessionFault { end, failure } => {
                let refusal = self.lifecycle.on_unit_ended(end, now);
                self.end_session(failure);
                refusal
            }
            Report::SessionEnded { reset, raised } => self.on_session_end(reset, raised, now),
            Report::Released => {
                self.work = Work::None;
                self.released = self.stopping;
                self.isolation.reset();
                self.lifecycle.on_released();
                None
            }
        };
        self.refuse_waiters(refusal);
        self.release_at_the_end();
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        let refusal = match event {
            Event::Seen(status) => {
                self.plugged = true;
                self.lifecycle.on_status(status, now)
            }
            Event::Unavailable(because) => self.lifecycle.on_unavailable(because, now),
            Event::Unplugged => {
                self.plugged = false;
                let gone = unplugged();
                self.end_all(&gone);
                self.lifecycle.on_unavailable(gone.message.to_string(), now);
                Some(gone)
            }
        };
        if let Some(failure) = refusal.as_ref().filter(|_| self.lifecycle.card().is_none()) {
            self.end_session(failure.clone());
        }
        self.refuse_waiters(refusal);
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.end_all(&shutting_down());
        self.end_session(shutting_down());
        self.refuse_opening(shutting_down());
        self.release_at_the_end();
    }

    /// Lets the card, or the place of one, go before the process ends, so that PC/SC has nothing to clean up.
    fn release_at_the_end(&mut self) {
        if self.stopping && !self.released && matches!(self.work, Work::None) {
            self.start(Job::Release, Work::Handling);
        }
    }

    fn publish(&mut self) {
        let status = self.plugged.then(|| self.lifecycle.status());
        if status == self.published || self.stopping {
            return;
        }
        match &status {
            Some(now) => log_change(&self.id, now, self.lifecycle.unusable_because().as_deref()),
            None => info!(reader = %self.id, "reader unplugged"),
        }
        self.publisher.publish(status.clone());
        self.published = status;
    }
}

fn unplugged() -> Failure {
    Failure::not_sent(Reason::ReaderGone, "the reader was unplugged: wait for it with WatchReaders")
}

fn log_change(id: &str, status: &ReaderStatus, because: Option<&str>) {
    let state = status.state;
    let insertion = status.insertion_id.as_str();
    match state {
        State::Mute | State::HeldElsewhere | State::Unresponsive | State::Unavailable => {
            warn!(reader = %id, ?state, insertion, because, "reader state changed");
        }
        State::Empty | State::Settling | State::Ready => info!(reader = %id, ?state, insertion, "reader state changed"),
    }
}
