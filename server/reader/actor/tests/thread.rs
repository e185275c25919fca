//! The card thread of a world: its real work without the thread. While a call of the card stack lasts, the history
//! continues.

use std::sync::{Arc, Mutex, MutexGuard};

use cardbroker_core::{
    apdu::ApduBytes,
    card::{
        gate::Gate,
        pin_guard::{Guarded, PinGuard},
    },
    slot::{CardCommand, CardInfo, Protocol, ProtocolChoice, SlotError},
    turns::{lease::Lease, turn::Disposition},
};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::{
    super::*,
    faults::Fault,
    history::{Fate, History, Step},
    witness::Promise,
    world::{AGE, World},
};
use crate::{
    backend::Slot,
    reader::{card::thread as card_thread, jobs::SessionTask},
};

/// A job of the card thread.
pub(super) struct Task {
    /// The item of the job.
    pub(super) item: Option<usize>,
    pub(super) ticket: Option<Arc<Ticket>>,
    /// The lease from its turn.
    lease: Option<Lease>,
    /// The actor waits for its report.
    is_actors: bool,
    /// A planted fault has repeated it.
    is_replay: bool,
}

/// Runs a history to its end, and fails with the first broken promise.
pub(super) fn play(history: History, fault: Option<Fault>) -> TestCaseResult {
    let world = Arc::new(Mutex::new(World::new(history, fault)));
    let next_job = || locked(&world).next_job();
    let guarded = Guarded { known_wrong: true, last_try: true };
    let gate = Gate::new(PinGuard::new(guarded, cardbroker_core::keyed_hash::HashKey::new(&[1; 64])));
    let mut card_thread = card_thread::without_thread(Box::new(Hand(Arc::clone(&world))), gate);
    while let Some(job) = next_job() {
        let report = card_thread(job);
        locked(&world).done(report);
    }
    match locked(&world).witness.broken.take() {
        Some((promise, detail)) => Err(TestCaseError::fail(format!("{promise:?}: {detail}"))),
        None => Ok(()),
    }
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    /// Continues the history until the card thread has a job.
    fn next_job(&mut self) -> Option<Job> {
        while self.witness.broken.is_none() {
            if !self.tasks.is_empty() {
                self.card_step();
                let mut job = self.tasks.pop_front()?;
                self.task = Some(self.begin(&mut job));
                return Some(job);
            }
            match self.steps.next() {
                Some(step) => self.step(step),
                None if self.wind_down() => {}
                None => break,
            }
        }
        None
    }

    fn begin(&mut self, job: &mut Job) -> Task {
        let mut task = Task { item: None, ticket: None, lease: None, is_actors: true, is_replay: false };
        match job {
            Job::Unit(unit) => {
                task.item = self.clients.item_of(&unit.ticket);
                task.lease = Some(unit.lease.clone());
                task.ticket = Some(Arc::clone(&unit.ticket));
                task.is_replay = self.tampers_with(unit);
                task.is_actors = !task.is_replay;
            }
            Job::Session(session) => {
                task.lease = Some(session.lease.clone());
                task.is_actors = false;
                if let SessionTask::Unit { ticket, .. } = &session.task {
                    task.item = self.clients.item_of(ticket);
                }
            }
            _ => {}
        }
        self.leases.extend(task.item.zip(task.lease.clone()));
        task
    }

    /// The card thread has done a job.
    fn done(&mut self, report: Option<Report>) {
        let Some(task) = self.task.take() else { return };
        self.card_step();
        self.at_work &= !task.is_actors;
        match report {
            Some(report) if !task.is_replay => {
                let late = if self.fault == Some(Fault::StoppedClock) { AGE } else { Duration::ZERO };
                self.event(|actor, now| actor.on_report(report, now - late));
            }
            _ => self.turn(),
        }
    }

    /// Continues the history up to the card thread's next step.
    fn card_step(&mut self) -> Fate {
        while self.witness.broken.is_none() {
            match self.steps.next() {
                Some(Step::Card(fate)) => return fate,
                Some(step) => self.step(step),
                None => break,
            }
        }
        Fate::Fine
    }

    /// Continues the history until the current call returns.
    fn call(&mut self) -> Fate {
        self.calling = true;
        let fate = self.card_step();
        self.calling = false;
        fate
    }
}

/// The slot that the history drives.
struct Hand(Arc<Mutex<World>>);

impl Slot for Hand {
    fn take(&mut self, _: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let mut world = locked(&self.0);
        let fate = world.call();
        if world.polled_card != world.witness.card {
            // The reader relies on this: a swap of a card without a handle is reported before the next card is taken.
            world.poll();
        }
        world.witness.take(fate).map(|()| card())
    }

    fn reset(&mut self, kind: ResetKind, _: ProtocolChoice) -> Result<CardInfo, SlotError> {
        let mut world = locked(&self.0);
        let fate = world.call();
        let forgets = world.fault == Some(Fault::ForgottenReset);
        world.witness.reset_taken(fate, kind, forgets).map(|()| card())
    }

    fn exchange(&mut self, command: CardCommand<'_>) -> Result<ApduBytes, SlotError> {
        let mut world = locked(&self.0);
        let Some((item, lease)) = world.task.as_ref().and_then(|task| Some((task.item?, task.lease.clone()?))) else {
            return Err(SlotError::StaleHandle);
        };
        let (group, insertion) = world.clients.holder(item);
        let is_alone = world.leases.iter().all(|(other, lease)| *other == item || !lease.is_valid());
        world.witness.expect(Promise::LeaseHonoured, is_alone, || format!("{item} is not the only holder"));
        world.witness.expect(Promise::LeaseHonoured, lease.is_valid(), || format!("{item} sends without a lease"));
        let reached = world.witness.sends(item, group, &insertion, command.bytes());
        let owed = match world.clients.items[item].wish.disposition {
            Disposition::Leave => None,
            Disposition::Reset => Some(ResetKind::Warm),
            Disposition::Unpower => Some(ResetKind::Cold),
        };
        world.witness.owes(item, owed);
        let fate = world.call();
        world.witness.answers(item, group, command.bytes(), reached, fate).map(Into::into)
    }

    fn wait_removal(&mut self, _: Duration) -> bool {
        locked(&self.0).witness.card.is_none()
    }

    fn release(&mut self) {
        let mut world = locked(&self.0);
        world.call();
        world.witness.release();
    }
}

fn card() -> CardInfo {
    CardInfo { atr: vec![0x3B], protocol: Protocol::T1 }
}
