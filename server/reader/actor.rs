//! The actor of one reader: a task that owns the reader's queue, life and leases, tells the card thread what to do, and publishes what
//! watchers see. It carries out what `queue` and `life` decide.

use std::{
    io,
    sync::{Arc, mpsc as thread_mpsc},
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    card_thread::{self, Job, Pulse, Report, UnitJob},
    handle::{Message, Requests, Waiting, shutting_down},
    isolation::Isolation,
    lease::Leases,
    life::{Action, Life},
    queue::{Full, Limits, Queue},
    status::{ReaderStatus, State},
    ticket::{Ticket, Turn},
};
use crate::{
    backend::{ResetKind, Slot, SlotStatus},
    caller::CallerKey,
    config::ReaderSettings,
    error::{Failure, Reason},
    group::GroupMark,
};

/// The longest that taking, resetting or releasing a card may last before the reader counts as unresponsive.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(15);
/// A look at the clock when nothing else is due.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);

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

/// Tells the world about a reader; `None` while it is unplugged.
pub type Publish = Box<dyn Fn(Option<ReaderStatus>) + Send>;

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
    /// The hand on the card.
    pub slot: Box<dyn Slot>,
    /// Where its status goes.
    pub publish: Publish,
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
    let (jobs, pulse) = card_thread::spawn(&setup.id, setup.slot, setup.settings.protocols, send_report)?;

    let (events, event_queue) = mpsc::channel(8);
    let life = Life::new(setup.settings.own, setup.settings.release_after, setup.identity, Instant::now());
    let actor = Actor {
        exchange_timeout: setup.settings.exchange_timeout,
        id: setup.id,
        publish: setup.publish,
        published: None,
        queue: Queue::new(setup.limits),
        isolation: Isolation::default(),
        isolation_reset: setup.settings.isolation_reset,
        life,
        leases: Leases::default(),
        jobs,
        pulse,
        work: Work::None,
        plugged: false,
        stopping: false,
    };
    tasks.spawn(actor.run(setup.requests.0, event_queue, reports, setup.shutdown));
    Ok(events)
}

struct Actor {
    id: String,
    exchange_timeout: Duration,
    publish: Publish,
    published: Option<ReaderStatus>,
    queue: Queue<CallerKey, Waiting>,
    isolation: Isolation,
    isolation_reset: ResetKind,
    life: Life,
    leases: Leases,
    jobs: thread_mpsc::SyncSender<Job>,
    pulse: Pulse,
    work: Work,
    plugged: bool,
    stopping: bool,
}

/// What the card thread is at.
enum Work {
    None,
    /// Taking, resetting or releasing the card.
    Handling {
        hangs: bool,
    },
    Unit {
        ticket: Arc<Ticket>,
        group: GroupMark,
        hangs: bool,
    },
}

const HANDLING: Work = Work::Handling { hangs: false };

impl Actor {
    async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut events: mpsc::Receiver<Event>,
        mut reports: mpsc::Receiver<Report>,
        shutdown: CancellationToken,
    ) {
        loop {
            self.advance(Instant::now());
            self.publish();
            if self.stopping && matches!(self.work, Work::None) {
                return;
            }
            let wakeup = sleep_until(self.wakeup(Instant::now()).into());
            tokio::select! {
                biased;
                Some(report) = reports.recv() => self.reported(report, Instant::now()),
                Some(event) = events.recv() => self.heard(event, Instant::now()),
                () = shutdown.cancelled(), if !self.stopping => self.stop(),
                () = self.isolation.reset_becomes_due() => {}
                Some(message) = messages.recv() => self.asked(message),
                () = wakeup => {}
            }
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        self.check_for_hang(now);
        while !self.stopping && matches!(self.work, Work::None) {
            if self.isolation.is_reset_due() && self.life.card().is_some() {
                // Off the next caller's path: nobody is left who may use what is in the card.
                self.give(Job::Reset(self.isolation_reset), HANDLING);
                break;
            }
            let job = match self.life.next_action(now, !self.queue.is_empty()) {
                None => break,
                Some(Action::Take) => Some(Job::Take),
                Some(Action::ColdReset) => Some(Job::ColdReset),
                Some(Action::Release) => Some(Job::Release),
                Some(Action::Serve) => {
                    self.serve_next(now);
                    None
                }
            };
            if let Some(job) = job {
                self.give(job, HANDLING);
            }
        }
        // After the turns, so that a request which waits for no time at all gets a card that is free.
        while let Some(Waiting { ticket, .. }) = self.queue.pop_expired(now) {
            ticket.end_waiting(Failure::not_sent(
                Reason::QueueTimeout,
                "the turn did not come within wait_timeout: retry, or wait longer",
            ));
        }
    }

    /// Gives the next ticket its turn, if it still wants it and its conditions hold.
    fn serve_next(&mut self, now: Instant) {
        let Some((card, Waiting { ticket, group })) = self.life.card().cloned().zip(self.queue.pop()) else { return };
        if let Some(failure) = self.broken_condition(&ticket) {
            ticket.end_waiting(failure);
            return;
        }
        let reset = if self.isolation.demands_reset(&group) {
            Some(self.isolation_reset)
        } else {
            ticket.request.reset_first.then_some(ResetKind::Warm)
        };
        let turn = Turn {
            insertion_id: self.life.insertion_id(),
            state_tag: self.life.next_state_tag(),
            began: now,
            reset: reset.is_some(),
        };
        if ticket.begin(turn) {
            self.life.unit_begins();
            let job = UnitJob { ticket: Arc::clone(&ticket), lease: self.leases.grant(), card, reset };
            self.give(Job::Unit(job), Work::Unit { ticket, group, hangs: false });
        }
    }

    fn broken_condition(&self, ticket: &Ticket) -> Option<Failure> {
        let differs = |wanted: &Option<String>, is: String| wanted.as_ref().is_some_and(|wanted| *wanted != is);
        if differs(&ticket.request.if_insertion_id, self.life.insertion_id()) {
            let message = "another card was inserted, or the same one again, since if_insertion_id: start again";
            return Some(Failure::not_sent(Reason::InsertionChanged, message));
        }
        if differs(&ticket.request.if_state_tag, self.life.state_tag()) {
            let message = "someone used or reset the card since if_state_tag: start again, or use one unit";
            return Some(Failure::not_sent(Reason::StateChanged, message));
        }
        None
    }

    fn give(&mut self, job: Job, work: Work) {
        self.work = work;
        // The thread takes a job whenever `work` was `None`, so there is room; it ends only after this actor.
        if self.jobs.try_send(job).is_err() {
            warn!(reader = %self.id, "the reader's card thread has ended");
            self.stopping = true;
            self.work = Work::None;
        }
    }

    /// A call that does not return must not keep its caller, nor those who wait.
    fn check_for_hang(&mut self, now: Instant) {
        let timeout = self.call_timeout();
        let (Work::Handling { hangs } | Work::Unit { hangs, .. }) = &mut self.work else { return };
        if *hangs || self.pulse.call_began().is_none_or(|began| began + timeout > now) {
            return;
        }
        *hangs = true;
        warn!(reader = %self.id, timeout_seconds = timeout.as_secs(), "the reader's driver does not return from a call");
        self.leases.end();
        if let Work::Unit { ticket, .. } = &self.work {
            let message = "the reader did not answer within the exchange timeout: look at the card before you go on";
            ticket.end(Some(Failure::unknown(Reason::ReaderUnresponsive, message)), now);
        }
        let verdict = self.life.unresponsive();
        self.turn_away(verdict);
    }

    fn call_timeout(&self) -> Duration {
        match self.work {
            Work::Unit { .. } => self.exchange_timeout,
            Work::None | Work::Handling { .. } => self.exchange_timeout.min(HANDLING_TIMEOUT),
        }
    }

    /// When something is due even if nothing happens.
    fn wakeup(&self, now: Instant) -> Instant {
        let action = match self.work {
            Work::None if !self.stopping => self.life.deadline(),
            Work::Handling { hangs: false } | Work::Unit { hangs: false, .. } => {
                Some(self.pulse.call_began().unwrap_or(now) + self.call_timeout())
            }
            _ => None,
        };
        [action, self.queue.next_deadline()].into_iter().flatten().min().unwrap_or(now + IDLE_WAKEUP)
    }

    fn reported(&mut self, report: Report, now: Instant) {
        debug!(reader = %self.id, ?report, "card thread");
        let work = std::mem::replace(&mut self.work, Work::None);
        let verdict = match report {
            Report::Took(taken) => {
                if let Err(error) = &taken {
                    debug!(reader = %self.id, %error, "the card could not be taken");
                }
                self.isolation.reset();
                self.life.took(taken, now)
            }
            Report::UnitEnded { end, raised } => {
                self.leases.end();
                if let Work::Unit { group, .. } = work {
                    self.isolation.used(&group, raised);
                }
                self.life.unit_ended(end, now)
            }
            Report::Reset(reset) => {
                self.isolation.reset();
                self.life.was_reset(reset, now)
            }
            Report::Released => {
                self.isolation.reset();
                self.life.released();
                None
            }
        };
        self.turn_away(verdict);
        if self.stopping && self.life.card().is_some() {
            self.give(Job::Release, HANDLING);
        }
    }

    fn heard(&mut self, event: Event, now: Instant) {
        let verdict = match event {
            Event::Seen(status) => {
                self.plugged = true;
                self.life.seen(status, now)
            }
            Event::Unavailable(because) => self.life.unavailable(because, now),
            Event::Unplugged => {
                self.plugged = false;
                let gone = "the reader was unplugged: wait for it with WatchReaders";
                self.end_all(&Failure::not_sent(Reason::ReaderGone, gone));
                self.life.unavailable(gone.into(), now)
            }
        };
        self.turn_away(verdict);
    }

    fn asked(&mut self, message: Message) {
        match message {
            Message::Withdraw(number) => drop(self.queue.remove(number)),
            Message::Submit { waiting, .. } if self.stopping => drop(waiting.ticket.end_waiting(shutting_down())),
            Message::Submit { number, caller, waiting } => {
                let refusal = self.life.refusal().filter(|refusal| is_told(&waiting.ticket, refusal));
                let deadline = waiting.ticket.wait_deadline();
                if let Some(failure) = refusal {
                    waiting.ticket.end_waiting(failure);
                } else if let Err((waiting, full)) = self.queue.push(number, caller, deadline, waiting) {
                    waiting.ticket.end_waiting(queue_full(full));
                }
            }
        }
    }

    /// Answers those who wait for their turn, but not for what `verdict` says is missing.
    fn turn_away(&mut self, verdict: Option<Failure>) {
        let Some(failure) = verdict else { return };
        for waiting in self.queue.remove_if(|waiting| is_told(&waiting.ticket, &failure)) {
            waiting.ticket.end_waiting(failure.clone());
        }
    }

    fn end_all(&mut self, failure: &Failure) {
        for waiting in self.queue.remove_if(|_| true) {
            waiting.ticket.end_waiting(failure.clone());
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.end_all(&shutting_down());
        if matches!(self.work, Work::None) && self.life.card().is_some() {
            self.give(Job::Release, HANDLING);
        }
    }

    fn publish(&mut self) {
        let status = self.plugged.then(|| self.life.status());
        if status == self.published || self.stopping {
            return;
        }
        match &status {
            Some(now) => log_change(&self.id, now),
            None => info!(reader = %self.id, "reader unplugged"),
        }
        (self.publish)(status.clone());
        self.published = status;
    }
}

/// Whether a ticket is answered with `failure` now: always if waiting cannot help, otherwise unless it waits for a card.
fn is_told(ticket: &Ticket, failure: &Failure) -> bool {
    !ticket.request.wait_for_card || failure.reason == Reason::ReaderNotOwned
}

fn queue_full(full: Full) -> Failure {
    Failure::not_sent(Reason::QueueFull, full.to_string())
}

fn log_change(id: &str, status: &ReaderStatus) {
    let state = status.state;
    let insertion = status.insertion_id.as_str();
    match state {
        State::Mute | State::HeldElsewhere | State::Unresponsive | State::Unavailable => {
            warn!(reader = %id, ?state, insertion, "reader");
        }
        State::Empty | State::Settling | State::Ready => info!(reader = %id, ?state, insertion, "reader"),
    }
}
