//! The actor with its card thread on a scripted slot: sessions and units whose end meets something else.

use std::sync::{Arc, Mutex, mpsc::Receiver};

use super::super::*;
use crate::{
    apdu::{ApduBytes, CommandApdu},
    backend::{CardInfo, Protocol, ProtocolChoice, SlotError},
    error::Delivery,
    group::{GroupKey, Groups},
    reader::{
        ReaderHandle,
        session::{News, Opening, Session, SessionRequest, Waited},
        ticket::UnitRequest,
        turn::TurnRequest,
        unit::UnitCommand,
    },
};

const LONG: Duration = Duration::from_secs(20);

/// Each reset, and each exchange, which fails, waits for a word. Taking the card does not.
struct HeldSlot {
    go: Receiver<()>,
    /// How many resets have begun.
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

    fn exchange(&mut self, _: &[u8]) -> Result<ApduBytes, SlotError> {
        let _ = self.go.recv();
        Err(SlotError::Lost("as scripted".into()))
    }

    fn wait_removal(&mut self, _: Duration) -> bool {
        false
    }

    fn release(&mut self) {}
}

struct World {
    handle: ReaderHandle,
    groups: Groups,
    go: thread_mpsc::Sender<()>,
    resets: Arc<Mutex<usize>>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    _events: mpsc::Sender<Event>,
}

impl World {
    async fn start(exchange_timeout: Duration) -> Self {
        let (go, held) = thread_mpsc::channel();
        let resets = Arc::new(Mutex::new(0));
        let limits = Limits { per_caller: 8, per_reader: 8 };
        let (handle, requests) = ReaderHandle::new(limits);
        let shutdown = CancellationToken::new();
        let setup = ReaderSetup {
            id: "scripted".into(),
            identity: "t".into(),
            settings: ReaderSettings { exchange_timeout, ..ReaderSettings::default() },
            limits,
            max_contended_lease: LONG,
            policy: crate::permit::unlimited_policy(),
            slot: Box::new(HeldSlot { go: held, resets: Arc::clone(&resets) }),
            publish: Box::new(|_| {}),
            requests,
            shutdown: shutdown.clone(),
        };
        let mut tasks = JoinSet::new();
        let events = spawn(setup, &mut tasks).unwrap();
        let seen = SlotStatus { display_name: "scripted".into(), card_present: true, event_count: 1, atr: card().atr };
        events.send(Event::Seen(seen)).await.unwrap();
        // Behind what the actor has heard before, for its select is biased.
        while events.capacity() < events.max_capacity() {
            tokio::task::yield_now().await;
        }
        Self { handle, groups: Groups::default(), go, resets, shutdown, tasks, _events: events }
    }

    fn open(&self, reset_first: bool) -> Opening {
        let mark = self.groups.join(GroupKey::Caller(CallerKey::Connection(1))).mark();
        let request = SessionRequest { turn: turn(reset_first), idle_timeout: LONG };
        self.handle
            .open_session(crate::permit::unlimited(CallerKey::Connection(1)), mark, request, Instant::now())
            .unwrap()
    }

    async fn session(&self) -> Session {
        let mut opening = self.open(false);
        begun(&mut opening).await.unwrap()
    }

    async fn ends(mut self) {
        drop(self.go);
        self.shutdown.cancel();
        tokio::time::timeout(LONG, self.tasks.join_next()).await.expect("the actor ends").unwrap().unwrap();
    }
}

fn turn(reset_first: bool) -> TurnRequest {
    TurnRequest { reset_first, if_insertion_id: None, if_state_tag: None, wait_timeout: LONG, wait_for_card: true }
}

fn commands() -> Vec<UnitCommand> {
    let apdu = CommandApdu::parse(vec![0x00, 0xA4, 0x00, 0x00]).unwrap();
    vec![apdu.into()]
}

async fn begun(opening: &mut Opening) -> Result<Session, Failure> {
    tokio::time::timeout(LONG, async {
        loop {
            if let Waited::Begun(session) = opening.next().await? {
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
async fn a_session_whose_first_reset_hangs_is_refused_in_time() {
    let world = World::start(Duration::from_millis(50)).await;
    let mut opening = world.open(true);
    assert_eq!(refusal(&mut opening).await, (Reason::ReaderUnresponsive, Delivery::NotSent));
    world.ends().await;
}

#[tokio::test]
async fn a_session_whose_first_reset_meets_the_shutdown_is_refused_and_does_not_hold_it_up() {
    let world = World::start(LONG).await;
    let mut opening = world.open(true);
    let begins = async {
        while *world.resets.lock().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, begins).await.expect("the reset begins");
    world.shutdown.cancel();
    assert_eq!(refusal(&mut opening).await, (Reason::ShuttingDown, Delivery::NotSent));
    world.ends().await;
}

#[tokio::test]
async fn a_unit_that_is_given_up_at_its_deadline_waits_no_longer() {
    let world = World::start(LONG).await;
    let mut session = world.session().await;
    let request = UnitRequest { commands: commands(), turn: turn(false) };
    let mark = world.groups.join(GroupKey::Caller(CallerKey::Connection(2))).mark();
    let mut unit =
        world.handle.submit(crate::permit::unlimited(CallerKey::Connection(2)), mark, request, Instant::now()).unwrap();
    assert!(matches!(session.news().await, News::Waiters(1)));
    unit.give_up(Instant::now());
    assert_eq!(unit.outcome().await.unwrap_err().reason, Reason::QueueTimeout);
    let news = tokio::time::timeout(LONG, session.news()).await.expect("nobody waits");
    assert!(matches!(news, News::Waiters(0)));
    drop(session);
    world.ends().await;
}

#[tokio::test]
async fn a_session_that_has_lost_its_card_gets_no_other_by_a_reset_behind_it() {
    let world = World::start(LONG).await;
    let session = world.session().await;
    let mut unit = session.transmit(commands(), false, Instant::now()).unwrap();
    let mut reset = session.reset(ResetKind::Warm, true).unwrap();
    world.go.send(()).unwrap();
    world.go.send(()).unwrap();
    // The actor does not run meanwhile, so nobody ends the lease.
    let until = Instant::now() + LONG;
    while reset.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((&mut unit.answer).await.unwrap().unwrap_err().reason, Reason::CardLost);
    let refused = (&mut reset).await.unwrap().unwrap_err();
    assert_eq!((refused.reason, refused.delivery), (Reason::LeaseEnded, Delivery::NotSent));
    assert_eq!(*world.resets.lock().unwrap(), 0);
    drop(session);
    world.ends().await;
}
