//! What was read of a session is answered, whatever ends it; what becomes of the card after a unit; and what those who
//! wait may see.

use cardbroker_core::{
    error::{Cause, Delivery},
    policy::Policy,
    turns::{
        turn::Disposition,
        waiting::{Holder, TurnKind, Turns},
    },
};

use super::{
    super::*,
    ends::{LONG, World, commands},
};
use crate::reader::{
    pipeline::{Answer, Delivered, Pipeline},
    session::SessionEvent,
};

type Heard = (i64, Reason, Delivery);

/// A session with two units and a reset under way, of which the first unit is in the driver's hands.
async fn busy(world: &World) -> Pipeline {
    let mut pipeline = Pipeline::new(world.session().await);
    for id in [1, 2] {
        pipeline.transmit(id, Ok(commands()), true, Instant::now());
    }
    pipeline.reset(3, Ok(ResetKind::Warm), true);
    world.until_calling().await;
    pipeline
}

/// All answers, which are failures, and why the session is over.
async fn rest(pipeline: &mut Pipeline) -> (Vec<Heard>, Failure) {
    let mut heard = Vec::new();
    let all = async {
        loop {
            match pipeline.next().await {
                Ok(Delivered::Answer(id, Answer::Failed(failure))) => {
                    heard.push((id, failure.reason, failure.delivery))
                }
                Ok(Delivered::Answer(id, answer)) => panic!("{id}: {answer:?}"),
                Ok(Delivered::Waiters(_)) => {}
                Err(over) => return over,
            }
        }
    };
    let over = tokio::time::timeout(LONG, all).await.expect("the session ends");
    (heard, over)
}

/// Whether the first message is unknown for that reason, and the two behind it were not sent.
fn only_the_first_is_unknown(heard: &[Heard], reason: Reason) -> bool {
    let not_sent = |(_, _, delivery): &Heard| *delivery == Delivery::NotSent;
    heard.len() == 3 && heard[0] == (1, reason, Delivery::Unknown) && heard[1..].iter().all(not_sent)
}

#[tokio::test]
async fn all_messages_are_answered_when_the_driver_hangs_and_the_end_was_not_sent() {
    let world = World::start(Duration::from_millis(50)).await;
    let mut pipeline = busy(&world).await;
    let (heard, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&heard, Reason::ReaderUnresponsive), "{heard:?}");
    assert_eq!((over.reason, over.delivery), (Reason::ReaderUnresponsive, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn new_rules_end_a_session_and_a_driver_that_hangs_then_keeps_no_answer() {
    let world = World::start(Duration::from_millis(200)).await;
    let mut pipeline = busy(&world).await;
    world.policy.send_replace(Arc::new(Policy::new(Vec::new(), 4242)));
    let (heard, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&heard, Reason::ReaderUnresponsive), "{heard:?}");
    assert_eq!((over.reason, over.delivery), (Reason::LeaseRevoked, Delivery::NotSent), "the first reason counts");
    assert_eq!((over.cause, over.rule.as_deref()), (Some(Cause::RulesChanged), Some("default")));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_lost_card_ends_the_session_with_what_was_not_sent() {
    let world = World::start(LONG).await;
    let mut pipeline = busy(&world).await;
    world.go.send(()).unwrap();
    let (heard, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&heard, Reason::CardLost), "{heard:?}");
    assert_eq!((over.reason, over.delivery), (Reason::CardLost, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_front_door_that_gives_up_answers_what_it_has_read() {
    let world = World::start(LONG).await;
    let mut pipeline = busy(&world).await;
    pipeline.abandon(&Failure::unknown(Reason::DeadlineNear, "late"), Instant::now());
    assert!(!pipeline.has_room());
    let (heard, over) = rest(&mut pipeline).await;
    assert!(only_the_first_is_unknown(&heard, Reason::DeadlineNear), "{heard:?}");
    assert_eq!((over.reason, over.delivery), (Reason::DeadlineNear, Delivery::NotSent));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_mistake_of_the_client_ends_the_session_after_its_answers() {
    let world = World::start(LONG).await;
    let mut pipeline = Pipeline::new(world.session().await);
    pipeline.transmit(1, Ok(commands()), false, Instant::now());
    pipeline.transmit(2, Err(Failure::invalid("commands", "empty")), false, Instant::now());
    pipeline.end(Failure::invalid("id", "not greater"));
    world.go.send(()).unwrap();
    let (heard, over) = rest(&mut pipeline).await;
    let invalid = (2, Reason::InvalidRequest, Delivery::NotSent);
    assert_eq!(heard, [(1, Reason::CardLost, Delivery::Unknown), invalid]);
    assert_eq!((over.reason, over.field.as_deref()), (Reason::InvalidRequest, Some("id")));
    drop(pipeline);
    world.ends().await;
}

#[tokio::test]
async fn a_session_whose_last_reset_hangs_is_closed_in_time() {
    let world = World::start(Duration::from_millis(50)).await;
    let pipeline = Pipeline::new(world.session().await);
    tokio::time::timeout(LONG, pipeline.close()).await.expect("it returns");
    assert_eq!(world.resets(), 1);
    world.ends().await;
}

#[tokio::test]
async fn the_reset_after_a_unit_keeps_the_next_turn_waiting_and_not_the_answer() {
    let world = World::with_card(LONG, true).await;
    let (mut first, mut next) = (world.submit(1, Disposition::Reset), world.submit(2, Disposition::Leave));
    world.go.send(()).unwrap();
    assert_eq!(first.outcome().await.unwrap().results.len(), 1);
    world.until_reset(1).await;
    let turns = world.handle.turns(CallerKey::Connection(2)).await.unwrap();
    assert_eq!(turns.waiting.iter().map(|waiter| waiter.turns_ahead).collect::<Vec<_>>(), [1], "it has not begun");
    assert_eq!(turns.holder, None, "the broker resets the card on nobody's behalf");
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    assert!(next.outcome().await.unwrap().reset_before_unit, "it is told of the reset");
    assert_eq!(world.resets(), 1);
    world.ends().await;
}

#[tokio::test]
async fn those_who_wait_see_their_own_requests_and_that_somebody_holds_the_card() {
    let world = World::start(LONG).await;
    let before = Instant::now();
    let mut session = world.session().await;
    let look = async |connection| world.handle.turns(CallerKey::Connection(connection)).await.unwrap();
    assert_eq!(look(1).await, Turns::default(), "nobody waits, so nobody is asked");
    let units = [2, 2, 3].map(|connection| world.submit(connection, Disposition::Leave));
    // The actor has heard of all when it tells the session.
    while !matches!(session.news().await, SessionEvent::Waiters(2)) {}

    let own = look(2).await;
    let seen = own.waiting.iter().map(|waiter| (waiter.kind, waiter.turns_ahead)).collect::<Vec<_>>();
    assert_eq!(seen, [(TurnKind::Unit, 1), (TurnKind::Unit, 3)]);
    assert!(own.waiting.iter().all(|waiter| waiter.since >= before && waiter.deadline == waiter.since + LONG));
    let holder = own.holder.unwrap();
    assert_eq!(holder, Holder { kind: TurnKind::Session, since: holder.since, is_caller: false });
    assert!(holder.since >= before);
    assert_eq!(look(3).await.waiting.len(), 1);
    let holders = look(1).await;
    assert!(holders.waiting.is_empty() && holders.holder.unwrap().is_caller);
    drop(units);
    drop(session);
    world.ends().await;
}
