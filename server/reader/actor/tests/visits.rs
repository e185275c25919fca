//! The actor with its card thread on a scripted slot: visits of a group, and resets between groups.

use std::sync::Arc;

use cardbroker_core::{
    apdu::CommandApdu,
    caller::CallerKey,
    card::unit::UnitRequest,
    error::{Cause, Delivery},
    policy::rule::Operation,
    turns::{
        bounds::Bounds,
        quantum::Quantum,
        schedule::TurnSettings,
        turn::{Disposition, TurnRequest},
    },
};

use super::{
    super::*,
    ends::{LONG, World, turn},
};
use crate::{
    caller::group::{Group, GroupKey},
    reader::{Submission, session::SessionEvent},
};

/// A world of that quantum, and the groups of the connections 1 and 2.
async fn start(quantum: Duration) -> (World, [Arc<Group>; 2]) {
    let bounds = Bounds { max_contended_unit: Duration::from_millis(50), ..Bounds::default() };
    let settings = TurnSettings { quantum: Quantum::Fixed(quantum), bounds, ..TurnSettings::default() };
    let world = World::with_settings(LONG, || Ok(vec![0x90, 0x00].into()), settings).await;
    let groups = [1, 2].map(|connection| world.groups.join(GroupKey::Caller(CallerKey::Connection(connection))));
    (world, groups)
}

/// A unit with a VERIFY, which raises security state.
fn verify(world: &World, connection: u64, group: &Arc<Group>, wait_timeout: Duration) -> Submission {
    unit(world, connection, group, wait_timeout, &[0x00])
}

/// A unit with a VERIFY in each of the classes.
fn unit(world: &World, connection: u64, group: &Arc<Group>, wait_timeout: Duration, classes: &[u8]) -> Submission {
    let verify = |class: &u8| CommandApdu::parse(vec![*class, 0x20, 0x00, 0x80, 0x01, 0x31]).unwrap().into();
    let commands = classes.iter().map(verify).collect();
    let turn = TurnRequest { wait_timeout, ..turn(false) };
    let request = UnitRequest { commands, turn, disposition: Disposition::Leave };
    world.handle.submit(world.access(connection, Operation::Transmit), group.mark(), request, Instant::now()).unwrap()
}

/// The first request of a group is in the driver's hands; one of the other group and two more of its own wait.
async fn contended(world: &World, [own, other]: &[Arc<Group>; 2]) -> (Submission, [Submission; 3]) {
    let first = verify(world, 1, own, LONG);
    world.until_calling().await;
    let other = verify(world, 2, other, LONG);
    (other, [first, verify(world, 1, own, LONG), verify(world, 1, own, LONG)])
}

#[tokio::test]
async fn a_visit_goes_on_within_its_quantum_and_the_reset_follows_at_once() {
    let (world, groups) = start(Duration::from_secs(10)).await;
    let (mut other, own) = contended(&world, &groups).await;
    for mut own in own {
        assert_eq!(world.resets(), 0, "the visit goes on");
        world.go.send(()).unwrap();
        own.outcome().await.unwrap();
    }
    world.until_reset(1).await;
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    assert!(other.outcome().await.unwrap().reset_before_unit);
    world.ends().await;
}

#[tokio::test]
async fn a_visit_is_over_after_its_quantum() {
    let (world, groups) = start(Duration::from_millis(1)).await;
    // The user's callers are of one cycle, in which the one whose group holds the card comes first.
    let (mut other, [mut first, mut second, mut third]) = contended(&world, &groups).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    for own in [&mut first, &mut second] {
        world.go.send(()).unwrap();
        own.outcome().await.unwrap();
    }
    world.until_reset(1).await;
    assert_eq!(world.calls(), 2, "the other group comes before the third");
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    assert!(other.outcome().await.unwrap().reset_before_unit);
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    assert!(third.outcome().await.unwrap().reset_before_unit);
    world.ends().await;
}

#[tokio::test]
async fn the_end_of_a_group_resets_the_card_although_its_visit_could_go_on() {
    let (world, [own, _other]) = start(Duration::from_secs(10)).await;
    let mut first = verify(&world, 1, &own, LONG);
    world.until_calling().await;
    world.go.send(()).unwrap();
    first.outcome().await.unwrap();
    assert_eq!(world.resets(), 0, "nobody else waits");
    drop(own);
    world.until_reset(1).await;
    world.ends().await;
}

#[tokio::test]
async fn a_request_that_waits_for_no_time_gets_the_free_card_within_a_visit() {
    let (world, [own, other]) = start(Duration::from_secs(10)).await;
    let mut first = verify(&world, 1, &own, LONG);
    world.until_calling().await;
    world.go.send(()).unwrap();
    first.outcome().await.unwrap();
    // Idle, and within the time in which the card would linger for the first one if somebody else waited.
    for _ in 0..2 {
        world.go.send(()).unwrap();
    }
    let outcome = loop {
        match verify(&world, 2, &other, Duration::ZERO).outcome().await {
            // The first one's outcome comes before the card thread's report to the actor.
            Err(failure) if failure.reason == Reason::QueueTimeout => {}
            outcome => break outcome.unwrap(),
        }
    };
    assert!(outcome.reset_before_unit);
    world.ends().await;
}

#[tokio::test]
async fn a_contended_unit_stops_behind_its_chain() {
    let (world, [own, other]) = start(Duration::ZERO).await;
    let mut long = unit(&world, 1, &own, LONG, &[0x10, 0x10, 0x00, 0x00]);
    world.until_calling().await;
    let _waits = verify(&world, 2, &other, LONG);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..4 {
        world.go.send(()).unwrap();
    }
    let outcome = long.outcome().await.unwrap();
    let stop = outcome.stopped.unwrap();
    assert_eq!((outcome.results.len(), stop.index), (3, 3), "the chain is complete");
    assert_eq!((stop.failure.reason, stop.failure.delivery), (Reason::UnitTooLong, Delivery::NotSent));
    world.ends().await;
}

#[tokio::test]
async fn a_long_unit_goes_on_while_only_its_own_group_waits() {
    let (world, [own, _other]) = start(Duration::ZERO).await;
    let mut long = unit(&world, 1, &own, LONG, &[0x00; 3]);
    world.until_calling().await;
    let _waits = verify(&world, 2, &own, LONG);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..4 {
        world.go.send(()).unwrap();
    }
    let outcome = long.outcome().await.unwrap();
    assert_eq!((outcome.results.len(), outcome.stopped), (3, None));
    world.ends().await;
}

#[tokio::test]
async fn a_busy_session_ends_when_its_time_is_over_while_others_wait() {
    let settings = TurnSettings {
        bounds: Bounds { max_contended_lease: Duration::from_millis(50), ..Bounds::default() },
        ..TurnSettings::default()
    };
    let world = World::with_settings(LONG, || Ok(vec![0x90, 0x00].into()), settings).await;
    let mut session = world.session().await;
    let _busy = session.transmit(super::ends::commands(), false, Instant::now()).unwrap();
    let group = world.groups.join(GroupKey::Caller(CallerKey::Connection(2)));
    let _waits = verify(&world, 2, &group, LONG);
    let over = loop {
        if let SessionEvent::Over(over) = session.news().await {
            break over;
        }
    };
    assert_eq!((over.failure.reason, over.failure.cause()), (Reason::LeaseRevoked, Some(Cause::TooLong)));
    drop(session);
    world.ends().await;
}
