//! A world for one reader: its real actor, without runtime and clock, driven by a history, its callers and its card
//! thread.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
    vec,
};

use cardbroker_core::{
    lifecycle::Own,
    slot::SlotStatus,
    turns::{lease::Lease, limits::QueueLimits, quantum::Quantum, schedule::TurnSettings},
};

use super::{
    super::*,
    clients::{Clients, LIMITS},
    faults::Fault,
    history::{History, Step, USERS, user_of},
    thread::Task,
    witness::{Promise, Witness},
};
use crate::reader::{
    handle::{ReaderHandle, Requests},
    statuses::Statuses,
};

const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// The lead of the world's clock over the real one, which a call watchdog and an inbox read.
pub(super) const AGE: Duration = Duration::from_secs(1000);
/// Steps from one deadline to the next: more than the waiting requests can have.
const LAST_WAKEUP: usize = 500;

pub(super) struct World {
    pub(super) actor: Actor,
    pub(super) clients: Clients,
    pub(super) witness: Witness,
    pub(super) fault: Option<Fault>,
    pub(super) now: Instant,
    pub(super) quantum: Duration,
    requests: Requests,
    jobs: Receiver<Job>,
    pub(super) steps: vec::IntoIter<Step>,
    stops: bool,
    wakeups: usize,
    ended: bool,
    /// The jobs of the card thread.
    pub(super) tasks: VecDeque<Job>,
    /// The actor's job is not reported yet.
    pub(super) at_work: bool,
    /// The current task of the card thread.
    pub(super) task: Option<Task>,
    /// The card thread is in a call of the card stack.
    pub(super) calling: bool,
    last_tag: u64,
    /// The card at the monitor's last poll.
    pub(super) polled_card: Option<u32>,
    /// The unit that had the previous turn, if the card thread has done nothing since.
    pub(super) last_unit: Option<usize>,
    /// The item that was last refused by a full queue.
    pub(super) last_full: Option<usize>,
    /// All units that have begun.
    pub(super) started: Vec<Arc<Ticket>>,
    /// The leases of the card thread's jobs, with their items.
    pub(super) leases: Vec<(usize, Lease)>,
}

impl World {
    pub(super) fn new(history: History, fault: Option<Fault>) -> Self {
        let (to_thread, jobs) = thread_mpsc::sync_channel(64);
        let (handle, requests) =
            ReaderHandle::new(crate::journal::JournalHandle::default(), LIMITS, CancellationToken::new());
        let now = Instant::now() + AGE;
        let own = if history.on_demand { Own::OnDemand } else { Own::Always };
        let is_boundless = matches!(fault, Some(Fault::TooMany | Fault::OneRound));
        let limits = if is_boundless { QueueLimits { per_caller: 100, per_reader: 100 } } else { LIMITS };
        let quantum = Quantum::Fixed(history.quantum);
        let actor = Actor {
            id: "r".into(),
            exchange_timeout: EXCHANGE_TIMEOUT,
            publisher: Statuses::default().publisher(&"r".into()),
            published: None,
            state_since: now,
            journal: requests.journal.clone(),
            recorded_insertion: String::new(),
            released_by: None,
            schedule: ReaderSchedule::new(limits, TurnSettings { quantum, ..TurnSettings::default() }),
            next_check: None,
            isolation_reset: ResetKind::Warm,
            policy: crate::policy::access::unlimited_policy(),
            positions: Positions::default(),
            waiting: Arc::clone(&requests.waiting),
            turns_moved: TurnsMoved::default(),
            lifecycle: CardLifecycle::new(
                own,
                Duration::from_secs(5),
                cardbroker_core::slot::ProtocolChoice::Any,
                "x".into(),
                now,
            ),
            marks: Arc::default(),
            reset_request: requests.reset_request.clone(),
            last_caller: None,
            leases: Leases::default(),
            jobs: to_thread,
            watchdog: CallWatchdog::new(),
            worker: WorkerState::Idle,
            phase: ReaderPhase::default(),
        };
        let mut world = Self {
            actor,
            clients: Clients::new(handle),
            witness: Witness::new(fault.map(Fault::breaks)),
            fault,
            now,
            quantum: history.quantum,
            requests,
            jobs,
            steps: history.steps.into_iter(),
            stops: history.stops,
            wakeups: 0,
            ended: false,
            tasks: VecDeque::new(),
            at_work: false,
            task: None,
            calling: false,
            last_tag: 0,
            polled_card: None,
            last_unit: None,
            last_full: None,
            started: Vec::new(),
            leases: Vec::new(),
        };
        world.witness.insert();
        world.poll();
        world
    }

    /// Applies one event of the history.
    pub(super) fn step(&mut self, step: Step) {
        self.witness.something_happens();
        self.tamper(&step);
        match step {
            Step::Card(_) => {}
            Step::Hang if self.calling => {
                self.now += EXCHANGE_TIMEOUT;
                self.actor.watchdog.clone().during(|| self.turn());
            }
            Step::Hang => {}
            Step::Insert => self.witness.insert(),
            Step::Remove => self.witness.remove(),
            Step::Swap => {
                self.witness.remove();
                self.witness.insert();
            }
            Step::Poll => self.poll(),
            Step::Down => self.event(|actor, now| actor.on_event(Event::Unavailable("down".into()), now)),
            Step::Unplug => self.event(|actor, now| actor.on_event(Event::Unplugged, now)),
            Step::Pass(time) => {
                self.now += time;
                self.turn();
            }
            step => {
                self.client_step(step);
                self.turn();
            }
        }
    }

    /// The monitor polls the slot.
    pub(super) fn poll(&mut self) {
        let card_present = self.witness.card.is_some();
        let atr = if card_present { vec![0x3B] } else { Vec::new() };
        let status = SlotStatus { name: "R".into(), card_present, event_count: self.witness.events, atr };
        self.witness.something_happens();
        self.polled_card = self.witness.card;
        self.event(|actor, now| actor.on_event(Event::Seen(status), now));
    }

    /// The actor processes an event, and does the due steps, like its task.
    pub(super) fn event(&mut self, happens: impl FnOnce(&mut Actor, Instant)) {
        if !self.ended {
            happens(&mut self.actor, self.now);
        }
        self.turn();
    }

    pub(super) fn turn(&mut self) {
        self.advance();
        while let Ok(message) = self.requests.messages.try_recv() {
            if let Some(message) = self.tampered(message).filter(|_| !self.ended) {
                self.actor.on_message(message);
            }
            self.advance();
        }
        self.check_invariants();
    }

    fn advance(&mut self) {
        if self.ended {
            self.receive_answers();
            return;
        }
        self.actor.advance(self.now);
        self.actor.publish(self.now);
        // First the answers, then the next turn.
        self.receive_answers();
        while let Ok(job) = self.jobs.try_recv() {
            if !matches!(job, Job::Session(_)) {
                let is_free = !std::mem::replace(&mut self.at_work, true);
                self.witness.expect(Promise::OneAtATime, is_free, || "a job while another is under way".into());
            }
            self.witness.acts(matches!(job, Job::Take | Job::ColdReset | Job::Release));
            self.given(&job);
            self.tasks.push_back(job);
        }
        self.ended = self.actor.phase.is_ending() && self.actor.worker.is_idle();
    }

    /// Checks the invariants between any two events.
    fn check_invariants(&mut self) {
        let (actor, witness, now) = (&self.actor, &mut self.witness, self.now);
        let waiting = self.clients.waiting().count();
        let counts = || format!("{waiting} wait, {} in the schedule", actor.schedule.len());
        witness.expect(Promise::Leaves, waiting == actor.schedule.len(), counts);
        for user in 0..USERS {
            if !self.clients.waiting().any(|item| user_of(item.wish.caller) == user) {
                self.clients.visits[user] = [0; USERS];
            }
        }
        let late = self.clients.waiting().find(|item| item.deadline <= now);
        witness.expect(Promise::Leaves, late.is_none(), || "a request waits past its deadline".into());
        let tag = tag(&actor.lifecycle.state_tag());
        witness.expect(Promise::TagMoves, self.last_tag <= tag, || format!("back to {tag}"));
        self.last_tag = tag;
        let is_idle = actor.worker.is_idle() && !self.ended;
        let wakeup = actor.wakeup(now);
        witness.expect(Promise::NeverSpins, self.ended || wakeup > now, || format!("{:?}", actor.lifecycle.status()));
        let is_stale = witness.raised().is_some_and(|raised| self.clients.has_ended(raised));
        let is_free = is_idle && actor.lifecycle.card().is_some() && !actor.phase.is_ending();
        witness.expect(Promise::WipedAtOnce, !(is_stale && is_free), || {
            "a free card keeps state of an ended group".into()
        });
    }

    /// After the history: all requests are served, or the broker stops. Returns false once that is done.
    pub(super) fn wind_down(&mut self) -> bool {
        self.wakeups += 1;
        self.witness.something_happens();
        if self.wakeups == 1 && self.stops {
            self.event(Actor::stop);
        } else if self.wakeups == 1 {
            self.witness.insert();
            self.poll();
        }
        self.clients.close_all();
        self.turn();
        let is_over = self.clients.all_done() && (self.ended || !self.stops) && self.tasks.is_empty();
        let unanswered = || "a request has no answer".into();
        self.witness.expect(Promise::Answered, is_over || self.wakeups < LAST_WAKEUP, unanswered);
        if self.tasks.is_empty() && !is_over {
            self.now = self.actor.wakeup(self.now).max(self.now + Duration::from_millis(1));
            self.witness.something_happens();
            self.turn();
        }
        !is_over && self.wakeups < LAST_WAKEUP
    }
}

/// The number in a state tag.
pub(super) fn tag(state_tag: &str) -> u64 {
    state_tag.trim_start_matches("x-s").parse().unwrap()
}
