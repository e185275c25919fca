//! The inputs of an actor, and its start.

use std::{io, sync::Arc, time::Instant};

use cardbroker_core::{
    card::{
        gate::Gate,
        pin_guard::{Guarded, PinGuard},
    },
    lifecycle::CardLifecycle,
    turns::{lease::Leases, limits::QueueLimits, schedule::TurnSettings},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Actor, Event,
    machine::{ReaderPhase, WorkerState},
    turns::Positions,
};
use crate::{
    backend::Slot,
    config::ReaderSettings,
    policy::access::PolicyInForce,
    process::random::hash_key,
    reader::{
        card::thread::{self as card_thread, CardSetup},
        handle::{Requests, TurnsMoved},
        schedule::ReaderSchedule,
        statuses::StatusPublisher,
    },
};

/// The inputs of a reader's actor. The registry fills it in, once for each reader.
pub struct ReaderSetup {
    /// The reader's id, for logs and the thread's name.
    pub id: String,
    /// The prefix of insertion ids and state tags, unique to this run and reader.
    pub identity: String,
    /// The number before that of the first lease. Those of other readers are far from it.
    pub first_lease: u64,
    /// The reader's settings from the configuration.
    pub settings: ReaderSettings,
    /// Maximum waiting requests, of one caller and of all together.
    pub limits: QueueLimits,
    /// The maximum times of visits and contended turns.
    pub turns: TurnSettings,
    /// The policy, now and after every change.
    pub policy: PolicyInForce,
    /// The only access to the reader's slot. Moves into the card thread.
    pub slot: Box<dyn Slot>,
    /// The receiver of each change of the reader's status.
    pub publisher: StatusPublisher,
    /// Wakes the watchers of turns when something may have changed.
    pub turns_moved: TurnsMoved,
    /// The receiving end of the reader's handle.
    pub requests: Requests,
    /// Cancelled when the broker stops, which ends the actor.
    pub shutdown: CancellationToken,
}

/// Starts a reader's card thread, and its actor as one of `tasks`. The actor ends after `shutdown`, when the current
/// unit has ended and the card was released. Returns the sender of events for the reader.
///
/// # Errors
/// The system cannot start a thread or provide random bytes.
pub fn spawn(setup: ReaderSetup, tasks: &TaskTracker) -> io::Result<mpsc::Sender<Event>> {
    let (report, reports) = mpsc::channel(2);
    // Fails only when the actor has ended, and then nobody needs the report.
    let send_report = move |done| drop(report.blocking_send(done));
    let guarded = Guarded { known_wrong: setup.settings.pin_guard, last_try: setup.settings.guard_last_try };
    let marks = setup.requests.marks;
    let gate = Gate::new(PinGuard::new(guarded, hash_key()?)).marking(Arc::clone(&marks));
    let journal = setup.requests.journal;
    let card = CardSetup { slot: setup.slot, protocols: setup.settings.protocols, gate, journal: journal.clone() };
    let (jobs, watchdog) = card_thread::spawn(&setup.id, card, send_report)?;

    let (events, event_queue) = mpsc::channel(8);
    let ReaderSettings { own, release_after, protocols, .. } = setup.settings;
    let lifecycle = CardLifecycle::new(own, release_after, protocols, setup.identity, Instant::now());
    let actor = Actor {
        exchange_timeout: setup.settings.exchange_timeout,
        id: setup.id,
        publisher: setup.publisher,
        published: None,
        state_since: Instant::now(),
        journal,
        recorded_insertion: String::new(),
        released_by: None,
        schedule: ReaderSchedule::new(setup.limits, setup.turns),
        next_check: None,
        isolation_reset: setup.settings.isolation_reset,
        policy: setup.policy,
        positions: Positions::default(),
        waiting: setup.requests.waiting,
        turns_moved: setup.turns_moved,
        lifecycle,
        marks,
        reset_request: setup.requests.reset_request,
        last_caller: None,
        leases: Leases::after(setup.first_lease),
        jobs,
        watchdog,
        worker: WorkerState::Idle,
        phase: ReaderPhase::default(),
    };
    let Requests { messages, queries, .. } = setup.requests;
    tasks.spawn(actor.run(messages, queries, event_queue, reports, setup.shutdown));
    Ok(events)
}
