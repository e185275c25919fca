//! The actor with its card thread on a scripted slot: ends of sessions and units at the same time as other events.

use std::sync::{Arc, Mutex, mpsc::Receiver};

use cardbroker_core::{
    apdu::{ApduBytes, CommandApdu},
    caller::{Caller, CallerKey},
    card::unit::{UnitCommand, UnitRequest},
    error::Delivery,
    policy::{Policy, ReaderNames, rule::Operation},
    slot::{CardCommand, CardInfo, Protocol, ProtocolChoice, SlotError, SlotStatus},
    turns::{
        limits::QueueLimits,
        schedule::TurnSettings,
        turn::{CardRequirement, Disposition, TurnRequest},
    },
    user::{example, example_account},
};
use tokio_util::task::TaskTracker;

use super::super::*;
use crate::{
    backend::Slot,
    caller::group::{GroupKey, Groups},
    config::ReaderSettings,
    policy::access::{Access, Records},
    reader::{
        ReaderHandle, Statuses, Submission,
        session::{Opening, OpeningEvent, Session, SessionEvent, SessionRequest},
    },
};

pub(super) const LONG: Duration = Duration::from_secs(20);

/// A slot on which each reset and each exchange waits for a permit; `answer` answers exchanges. Taking the card does
/// not wait.
struct HeldSlot {
    go: Receiver<()>,
    answer: fn() -> Result<ApduBytes, SlotError>,
    /// The number of exchanges that have begun.
    calls: Arc<Mutex<usize>>,
    /// The number of resets that have begun.
    resets: Arc<Mutex<usize>>,
}

fn card() -> CardInfo {
    CardInfo { atr: vec![0x3B, 0x00], protocol: Protocol::T1 }
}

impl Slot for HeldSlot {
    fn take(&mut self, _: ProtocolChoice) -> Result<CardInfo, SlotError> {
        Ok(card())
    }

    fn reset(&mut self, _: ResetKind, _: ProtocolChoice) -> Result<CardInfo, SlotError> {
        *self.resets.lock().unwrap() += 1;
        let _ = self.go.recv();
        Ok(card())
    }

    fn exchange(&mut self, _: CardCommand<'_>) -> Result<ApduBytes, SlotError> {
        *self.calls.lock().unwrap() += 1;
        let _ = self.go.recv();
        (self.answer)()
    }

    fn wait_removal(&mut self, _: Duration) -> bool {
        false
    }

    fn release(&mut self) {}
}

pub(super) struct World {
    pub(super) handle: ReaderHandle,
    pub(super) groups: Groups,
    pub(super) go: thread_mpsc::Sender<()>,
    resets: Arc<Mutex<usize>>,
    calls: Arc<Mutex<usize>>,
    pub(super) policy: watch::Sender<Arc<Policy>>,
    pub(super) shutdown: CancellationToken,
    tasks: TaskTracker,
    pub(super) statuses: Statuses,
    _events: mpsc::Sender<Event>,
}

impl World {
    pub(super) async fn start(exchange_timeout: Duration) -> Self {
        Self::with_card(exchange_timeout, false).await
    }

    /// A world whose exchanges fail or succeed.
    pub(super) async fn with_card(exchange_timeout: Duration, succeeds: bool) -> Self {
        let fails = || Err(SlotError::Lost("as scripted".into()));
        let answer: fn() -> _ = if succeeds { || Ok(vec![0x90, 0x00].into()) } else { fails };
        Self::with_settings(exchange_timeout, answer, TurnSettings::default()).await
    }

    /// A world whose exchanges get their answers from `answer`.
    pub(super) async fn with_answer(exchange_timeout: Duration, answer: fn() -> Result<ApduBytes, SlotError>) -> Self {
        Self::with_settings(exchange_timeout, answer, TurnSettings::default()).await
    }

    pub(super) async fn with_settings(
        exchange_timeout: Duration,
        answer: fn() -> Result<ApduBytes, SlotError>,
        settings: TurnSettings,
    ) -> Self {
        let (go, held) = thread_mpsc::channel();
        let [resets, calls] = [(); 2].map(|()| Arc::new(Mutex::new(0)));
        let limits = QueueLimits { per_caller: 8, per_reader: 32 };
        let shutdown = CancellationToken::new();
        let (handle, requests) = ReaderHandle::new(crate::journal::JournalHandle::default(), limits, shutdown.clone());
        let policy = watch::Sender::new(Arc::new(Policy::new(Vec::new(), example(0))));
        let statuses = Statuses::default();
        let setup = ReaderSetup {
            first_lease: 0,
            id: "scripted".into(),
            identity: "t".into(),
            settings: ReaderSettings { exchange_timeout, ..ReaderSettings::default() },
            limits,
            turns: settings,
            policy: policy.subscribe(),
            slot: Box::new(HeldSlot { go: held, answer, calls: Arc::clone(&calls), resets: Arc::clone(&resets) }),
            publisher: statuses.publisher(&"r".into()),
            turns_moved: TurnsMoved::default(),
            requests,
            shutdown: shutdown.clone(),
        };
        let tasks = TaskTracker::new();
        let events = spawn(setup, &tasks).unwrap();
        let seen = SlotStatus { name: "scripted".into(), card_present: true, event_count: 1, atr: card().atr };
        events.send(Event::Seen(seen)).await.unwrap();
        // After the earlier events of the actor, because its select is biased.
        while events.capacity() < events.max_capacity() {
            tokio::task::yield_now().await;
        }
        Self {
            handle,
            groups: Groups::default(),
            go,
            resets,
            calls,
            policy,
            shutdown,
            tasks,
            statuses,
            _events: events,
        }
    }

    fn open(&self, reset_first: bool) -> Opening {
        let mark = self.groups.join(GroupKey::Caller(CallerKey::Connection(1))).mark();
        let request = SessionRequest {
            turn: turn(reset_first),
            idle_timeout: LONG,
            disposition: Disposition::Reset,
            records: crate::policy::audit::SessionRecords::Each,
        };
        self.handle.open_session(self.access(1, Operation::Session), mark, request, Instant::now()).unwrap()
    }

    pub(super) async fn session(&self) -> Session {
        let mut opening = self.open(false);
        begun(&mut opening).await.unwrap()
    }

    /// Submits a unit of the caller with this connection.
    pub(super) fn submit(&self, connection: u64, disposition: Disposition) -> Submission {
        self.try_submit(connection, disposition).unwrap()
    }

    /// As [`World::submit`], at a reader that may refuse it.
    pub(super) fn try_submit(&self, connection: u64, disposition: Disposition) -> Result<Submission, Failure> {
        self.submit_within(LONG, connection, disposition)
    }

    /// As [`World::try_submit`], for a unit that waits at most `wait_timeout` for its turn.
    fn submit_within(
        &self,
        wait_timeout: Duration,
        connection: u64,
        disposition: Disposition,
    ) -> Result<Submission, Failure> {
        let turn = TurnRequest { wait_timeout, ..turn(false) };
        let request = UnitRequest { commands: commands(), turn, disposition };
        let access = self.access(connection, Operation::Transmit);
        let mark = self.groups.join(GroupKey::Caller(access.caller().key)).mark();
        self.handle.submit(access, mark, request, Instant::now())
    }

    pub(super) fn access(&self, connection: u64, operation: Operation) -> Access {
        let caller = Caller::local(connection, example_account(0), None, None);
        let names = ReaderNames { id: "scripted".into(), display_name: "scripted".into() };
        let origin = Arc::new(Origin { caller, group: None, traceparent: None });
        Access::new(self.policy.subscribe(), Records::default(), origin, names.into(), operation, Vec::new())
    }

    /// The number of resets that have begun.
    pub(super) fn resets(&self) -> usize {
        *self.resets.lock().unwrap()
    }

    /// Waits until `count` resets have begun.
    pub(super) async fn until_reset(&self, count: usize) {
        until(|| self.resets() >= count).await;
    }

    /// Waits until an exchange has begun.
    pub(super) async fn until_calling(&self) {
        self.until_calls(1).await;
    }

    /// How many exchanges have begun.
    pub(super) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    /// Waits until so many exchanges have begun.
    pub(super) async fn until_calls(&self, count: usize) {
        until(|| self.calls() >= count).await;
    }

    pub(super) async fn ends(self) {
        self.shutdown.cancel();
        self.ends_by_itself().await;
    }

    pub(super) async fn ends_by_itself(mut self) {
        // The slot waits for no word any more.
        self.go = thread_mpsc::channel().0;
        tokio::time::timeout(LONG, self.stopped()).await.expect("the actor ends");
    }

    /// Waits until the actor has ended.
    pub(super) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, holds).await.expect("it happens");
}

pub(super) fn turn(reset_first: bool) -> TurnRequest {
    TurnRequest {
        reset_before: reset_first.then_some(ResetKind::Warm),
        if_insertion_id: None,
        if_state_tag: None,
        if_not_raised: false,
        wait_timeout: LONG,
        card: CardRequirement::Awaited,
    }
}

pub(super) fn commands() -> Vec<UnitCommand> {
    let apdu = CommandApdu::parse(vec![0x00, 0xA4, 0x00, 0x00]).unwrap();
    vec![apdu.into()]
}

async fn begun(opening: &mut Opening) -> Result<Session, Failure> {
    tokio::time::timeout(LONG, async {
        loop {
            if let OpeningEvent::Begun(session) = opening.next().await? {
                return Ok(*session);
            }
        }
    })
    .await
    .expect("it is answered")
}

async fn refusal(opening: &mut Opening) -> (Reason, Delivery) {
    let failure = begun(opening).await.err().expect("no session");
    (failure.reason, failure.delivery)
}

#[tokio::test]
async fn a_session_is_refused_while_its_first_reset_hangs() {
    let world = World::start(Duration::from_millis(50)).await;
    let mut opening = world.open(true);
    assert_eq!(refusal(&mut opening).await, (Reason::ReaderUnresponsive, Delivery::NotSent));
    world.ends().await;
}

#[tokio::test]
async fn a_shutdown_refuses_a_session_during_its_first_reset() {
    let world = World::start(LONG).await;
    let mut opening = world.open(true);
    world.until_reset(1).await;
    world.shutdown.cancel();
    assert_eq!(refusal(&mut opening).await, (Reason::ShuttingDown, Delivery::NotSent));
    world.ends().await;
}

#[tokio::test]
async fn a_unit_cancelled_at_its_deadline_waits_no_longer() {
    let world = World::start(LONG).await;
    let mut session = world.session().await;
    let mut unit = world.submit(2, Disposition::Leave);
    assert!(matches!(session.news().await, SessionEvent::Waiters(1)));
    unit.give_up(Instant::now());
    assert_eq!(unit.outcome().await.unwrap_err().reason, Reason::QueueTimeout);
    let news = tokio::time::timeout(LONG, session.news()).await.expect("nobody waits");
    assert!(matches!(news, SessionEvent::Waiters(0)));
    drop(session);
    world.ends().await;
}

#[tokio::test]
async fn a_session_with_a_lost_card_gets_no_other() {
    let world = World::start(LONG).await;
    let session = world.session().await;
    let mut unit = session.transmit(commands(), false, Instant::now()).unwrap();
    let mut reset = session.reset(ResetKind::Warm, true).unwrap();
    world.go.send(()).unwrap();
    world.go.send(()).unwrap();
    // The actor does not run meanwhile, so nothing ends the lease.
    let until = Instant::now() + LONG;
    while !reset.is_answered() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((&mut unit.answer).await.unwrap().unwrap_err().reason, Reason::CardLost);
    let refused = reset.outcome().await.unwrap_err();
    assert_eq!((refused.reason, refused.delivery), (Reason::LeaseEnded, Delivery::NotSent));
    assert_eq!(world.resets(), 0);
    drop(session);
    world.ends().await;
}

#[tokio::test]
async fn a_unit_that_may_not_wait_follows_the_callers_answered_one() {
    let world = World::with_card(LONG, true).await;
    for turn in 0..5_000 {
        world.go.send(()).unwrap();
        // The first one waits until the card is taken.
        let wait_timeout = if turn == 0 { LONG } else { Duration::ZERO };
        let mut unit = world.submit_within(wait_timeout, 1, Disposition::Leave).unwrap();
        let outcome = tokio::time::timeout(LONG, unit.outcome()).await.expect("it is answered");
        assert_eq!(outcome.map(|unit| unit.results.len()), Ok(1));
    }
    world.ends().await;
}

#[tokio::test]
async fn a_holder_knows_whether_other_groups_wait() {
    let world = World::start(LONG).await;
    let mut session = world.session().await;
    let own = world.submit(1, Disposition::Leave);
    assert!(matches!(session.news().await, SessionEvent::Waiters(1)) && !session.others_wait());
    let other = world.submit(2, Disposition::Leave);
    assert!(matches!(session.news().await, SessionEvent::Waiters(2)) && session.others_wait());
    drop((session, own, other));
    world.ends().await;
}
