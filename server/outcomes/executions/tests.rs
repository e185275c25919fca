//! Scenarios of requests with one id, at a reader whose actor does not run: the tests end the tickets.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use cardbroker_core::{
    caller::{CallerKey, Principal},
    turns::{
        limits::QueueLimits,
        turn::{CardNow, CardRequirement, Disposition},
    },
    user::example,
};

use super::*;
use crate::{
    caller::group::GroupMark,
    policy::access::{Access, unlimited},
    reader::{ReaderHandle, Requests},
};

const LIMITS: OutcomeLimits =
    OutcomeLimits { per_user: 9, total: 9, bytes: 64 << 10, lifetime: Duration::from_secs(600) };
const QUEUE: QueueLimits = QueueLimits { per_caller: 99, per_reader: 99 };
const ROUNDS: usize = 200;
const REPEATS: usize = 4;

struct World {
    executions: Executions,
    reader: ReaderHandle,
    _requests: Requests,
    access: Access,
    submits: AtomicUsize,
}

fn key() -> RequestKey {
    RequestKey { principal: Principal::User(example(1)), id: vec![1].into() }
}

fn terms() -> TurnRequest {
    TurnRequest {
        reset_before: None,
        if_insertion_id: None,
        if_state_tag: None,
        if_not_raised: false,
        wait_timeout: Duration::from_secs(9),
        card: CardRequirement::Required,
    }
}

fn unit() -> UnitRequest {
    UnitRequest { commands: Vec::new(), turn: terms(), disposition: Disposition::Leave }
}

impl World {
    fn new() -> Self {
        let executions = Executions::new(LIMITS, CancellationToken::new()).unwrap();
        let (reader, requests) =
            ReaderHandle::new(crate::journal::JournalHandle::default(), QUEUE, CancellationToken::new());
        let access = unlimited(CallerKey::Connection(1));
        Self { executions, reader, _requests: requests, access, submits: AtomicUsize::new(0) }
    }

    fn submit(&self) -> Result<Submission, Failure> {
        self.submits.fetch_add(1, Ordering::Relaxed);
        self.reader.submit(self.access.clone(), GroupMark::alone(), unit(), Instant::now())
    }

    fn submits(&self) -> usize {
        self.submits.load(Ordering::Relaxed)
    }

    async fn run(
        &self,
        give_up: Option<Instant>,
        submit: impl Fn() -> Result<Submission, Failure>,
    ) -> Result<JoinedOutcome, Failure> {
        let fingerprint = self.executions.fingerprint("a", &unit());
        self.executions.run(key(), &fingerprint, &terms(), give_up, submit).await
    }

    fn begin(&self, terms: &TurnRequest, submit: impl Fn() -> Result<Submission, Failure>) -> Result<Begun, Failure> {
        let fingerprint = self.executions.fingerprint("a", &unit());
        self.executions.begin(&key(), &fingerprint, terms, submit)
    }
}

#[tokio::test]
async fn a_unit_may_fail_like_a_withdrawal() {
    let world = World::new();
    let submit = || {
        let submission = world.submit()?;
        assert!(submission.ticket().upgrade().unwrap().end_waiting(withdrawn()));
        Ok(submission)
    };
    let joined = world.run(None, submit).await.unwrap();
    assert_eq!((&*joined.outcome, joined.replayed), (&Err(withdrawn()), false));
    assert_eq!(world.submits(), 1);
}

#[tokio::test]
async fn a_unit_cancelled_before_its_turn_is_forgotten() {
    let world = World::new();
    for _ in 0..2 {
        let joined = world.run(Some(Instant::now()), || world.submit()).await.unwrap();
        assert_eq!(joined.outcome.as_ref().as_ref().unwrap_err().reason, Reason::QueueTimeout);
        assert!(!joined.replayed);
    }
    assert_eq!(world.submits(), 2);
}

#[tokio::test]
async fn the_store_is_not_locked_while_a_unit_is_submitted() {
    let world = World::new();
    let submit = || {
        assert!(world.executions.outcomes.try_lock().is_ok());
        world.submit()
    };
    assert!(matches!(world.begin(&terms(), submit), Ok(Begun::Await(_))));
    assert_eq!(world.submits(), 1);
}

#[tokio::test]
async fn one_of_equal_requests_submits_and_all_conditions_bind() {
    for _ in 0..ROUNDS {
        let (world, start) = (World::new(), Barrier::new(REPEATS));
        let runtime = tokio::runtime::Handle::current();
        let ticket = Mutex::new(None);
        let submit = || {
            let submission = world.submit()?;
            *ticket.lock().unwrap() = submission.ticket().upgrade();
            Ok(submission)
        };
        let request = || {
            let _guard = runtime.enter();
            let if_state_tag = Some("tag".to_owned());
            start.wait();
            // The unit itself is submitted on terms without the condition.
            world.begin(&TurnRequest { if_state_tag, ..terms() }, submit).unwrap()
        };
        let begun = thread::scope(|scope| {
            let requests = [(); REPEATS].map(|()| scope.spawn(request));
            requests.map(|request| request.join().unwrap())
        });
        assert_eq!(world.submits(), 1);
        let repeats = begun.iter().filter(|begun| matches!(begun, Begun::Await(awaited) if awaited.is_repeat)).count();
        assert_eq!(repeats, REPEATS - 1);
        let ticket = ticket.into_inner().unwrap().unwrap();
        assert!(
            ticket
                .broken_condition(CardNow { insertion_id: "insertion", state_tag: "another tag", is_raised: false })
                .is_some()
        );
    }
}

#[tokio::test]
async fn each_refused_equal_request_gets_its_own_refusal() {
    for _ in 0..ROUNDS {
        let (world, start) = (World::new(), Barrier::new(REPEATS));
        let runtime = tokio::runtime::Handle::current();
        let refuse = || {
            world.submits.fetch_add(1, Ordering::Relaxed);
            Err(Failure::not_sent(Reason::QueueFull, "full"))
        };
        let request = || {
            start.wait();
            runtime.block_on(world.run(None, refuse)).err().unwrap().reason
        };
        let reasons = thread::scope(|scope| {
            let requests = [(); REPEATS].map(|()| scope.spawn(request));
            requests.map(|request| request.join().unwrap())
        });
        assert_eq!(reasons, [Reason::QueueFull; REPEATS]);
        assert_eq!(world.submits(), REPEATS);
    }
}
