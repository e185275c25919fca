//! Tests that every read message of a session is answered, of the card's disposition after a unit, and of the turns
//! that waiters see.

use cardbroker_core::{
    caller::Caller,
    error::{Cause, Delivery},
    policy::Policy,
    turns::{
        turn::Disposition,
        waiting::{Holder, TurnKind, Turns},
    },
    user::{example, example_account},
};

use super::{
    super::*,
    ends::{LONG, World, commands},
};
use crate::reader::{
    pipeline::{Answer, Delivered, Pipeline},
    session::SessionEvent,
};

type FailedAnswer = (i64, Reason, Delivery);

/// A session with two units and a reset in progress; the first unit is in a call of the driver.
async fn busy(world: &World) -> Pipeline {
    let mut pipeline = Pipeline::new(world.session().await);
    for id in [1, 2] {
        pipeline.transmit(id, Ok(commands()), true, Instant::now());
    }
    pipeline.reset(3, Ok(ResetKind::Warm), true);
    world.until_calling().await;
    pipeline
}

/// All answers, which are failures, and the failure that ended the session.
async fn rest(pipeline: &mut Pipeline) -> (Vec<FailedAnswer>, Failure) {
    let mut answers = Vec::new();
    let all = async {
        loop {
            match pipeline.next().await {
                Ok(Delivered::Answer(id, Answer::Failed(failure))) => {
                    answers.push((id, failure.reason, failure.delivery))
                }
                Ok(Delivered::Answer(id, answer)) => panic!("{id}: {answer:?}"),
                Ok(Delivered::Waiters(_)) => {}
                Err(over) => return over,
            }
        }
    };
    let over = tokio::time::timeout(LONG, all).await.expect("the session ends");
    (answers, over)
}

/// Whether the first message has an unknown outcome for this reason, and the two after it were not sent.
fn only_the_first_is_unknown(answers: &[FailedAnswer], reason: Reason) -> bool {
    let not_sent = |(_, _, delivery): &FailedAnswer| *delivery == Delivery::NotSent;
    answers.len() == 3 && answers[0] == (1, reason, Delivery::Unknown) && answers[1..].iter().all(not_sent)
}

#[tokio::test]
async fn all_messages_are_answered_when_the_driver_hangs() {
    let world = World::start(Duration::from_millis(50)).await;
    let mut pipeline = busy(&world).await;
    let (answers, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&answers, Reason::ReaderUnresponsive), "{answers:?}");
    assert_eq!((over.reason, over.delivery), (Reason::ReaderUnresponsive, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn new_rules_end_a_session_with_a_hanging_driver() {
    let world = World::start(Duration::from_millis(200)).await;
    let mut pipeline = busy(&world).await;
    world.policy.send_replace(Arc::new(Policy::new(Vec::new(), example(4242))));
    let (answers, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&answers, Reason::ReaderUnresponsive), "{answers:?}");
    assert_eq!((over.reason, over.delivery), (Reason::LeaseRevoked, Delivery::NotSent), "the first reason counts");
    assert_eq!((over.cause(), over.rule()), (Some(Cause::RulesChanged), Some("default")));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_lost_card_ends_the_session_and_its_unsent_messages() {
    let world = World::start(LONG).await;
    let mut pipeline = busy(&world).await;
    world.go.send(()).unwrap();
    let (answers, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&answers, Reason::CardLost), "{answers:?}");
    assert_eq!((over.reason, over.delivery), (Reason::CardLost, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn an_abandoned_pipeline_answers_all_read_messages() {
    let world = World::start(LONG).await;
    let mut pipeline = busy(&world).await;
    pipeline.abandon(&Failure::unknown(Reason::DeadlineNear, "late"), Instant::now());
    assert!(!pipeline.has_room());
    let (answers, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&answers, Reason::DeadlineNear), "{answers:?}");
    assert_eq!((over.reason, over.delivery), (Reason::DeadlineNear, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_clients_mistake_ends_the_session_after_its_answers() {
    let world = World::start(LONG).await;
    let mut pipeline = Pipeline::new(world.session().await);
    pipeline.transmit(1, Ok(commands()), false, Instant::now());
    pipeline.transmit(2, Err(Failure::invalid("commands", "empty")), false, Instant::now());
    pipeline.end(Failure::invalid("id", "not greater"));
    world.go.send(()).unwrap();
    let (answers, over) = rest(&mut pipeline).await;
    let invalid = (2, Reason::InvalidRequest, Delivery::NotSent);
    assert_eq!(answers, [(1, Reason::CardLost, Delivery::Unknown), invalid]);
    assert_eq!((over.reason, over.field()), (Reason::InvalidRequest, Some("id")));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_session_with_a_hanging_last_reset_closes_in_time() {
    let world = World::start(Duration::from_millis(50)).await;
    let pipeline = Pipeline::new(world.session().await);
    tokio::time::timeout(LONG, pipeline.close()).await.expect("it returns");
    assert_eq!(world.resets(), 1);
    world.ends().await;
}

#[tokio::test]
async fn the_reset_after_a_unit_delays_only_the_next_turn() {
    let world = World::with_card(LONG, true).await;
    let (mut first, mut next) = (world.submit(1, Disposition::Reset), world.submit(2, Disposition::Leave));
    world.go.send(()).unwrap();
    assert_eq!(first.outcome().await.unwrap().results.len(), 1);
    world.until_reset(1).await;
    let turns = world.handle.turns(&caller(2)).await.unwrap();
    assert_eq!(turns.waiting.iter().map(|waiter| waiter.turns_ahead).collect::<Vec<_>>(), [1], "it has not begun");
    assert_eq!(turns.holder, None, "the broker resets the card without a request");
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    assert!(next.outcome().await.unwrap().reset_before_unit, "it reports the reset");
    assert_eq!(world.resets(), 1);
    world.ends().await;
}

/// The caller of a connection, as in [`World::submit`].
fn caller(connection: u64) -> Caller {
    Caller::local(connection, example_account(0), None, None)
}

#[tokio::test]
async fn waiters_see_their_own_requests_and_the_holder() {
    let world = World::start(LONG).await;
    let before = Instant::now();
    let mut session = world.session().await;
    let turns = async |connection| world.handle.turns(&caller(connection)).await.unwrap();
    assert_eq!(turns(1).await, Turns::default(), "without waiters the actor is not queried");
    let units = [2, 2, 3].map(|connection| world.submit(connection, Disposition::Leave));
    // The actor has processed all requests when it reports the waiters to the session.
    while !matches!(session.news().await, SessionEvent::Waiters(2)) {}

    let own = turns(2).await;
    let seen = own.waiting.iter().map(|waiter| (waiter.kind, waiter.turns_ahead)).collect::<Vec<_>>();
    assert_eq!(seen, [(TurnKind::Unit, 1), (TurnKind::Unit, 3)]);
    assert!(own.waiting.iter().all(|waiter| waiter.since >= before && waiter.deadline == waiter.since + LONG));
    let holder = own.holder.unwrap();
    assert_eq!(holder, Holder { kind: TurnKind::Session, since: holder.since, is_caller: false });
    assert!(holder.since >= before);
    assert_eq!(turns(3).await.waiting.len(), 1);
    let holders = turns(1).await;
    assert!(holders.waiting.is_empty() && holders.holder.unwrap().is_caller);
    drop(units);
    drop(session);
    world.ends().await;
}
