//! Places in the queue of a process that keeps the turn itself: they do not count as others that wait.

use std::time::{Duration, Instant};

use cardbroker_core::{pcsclite::code::Code, simulated_card::CardOptions};

use super::{
    program::{Program, World},
    terms::{EXCLUSIVE, READ, READERS, SHARED, TRIES, VERIFY},
};
use crate::{config::Config, pcsclite::IdleTimes};

const IDLE: Duration = Duration::from_millis(300);
/// The time of a command at the second reader.
const LONG: Duration = Duration::from_secs(2);
/// The time in which the second reader takes its new card, longer by the wait for a place.
const LONGER: Duration = Duration::from_secs(3);
/// The same time where a command is the long call.
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_place_is_given_up_during_a_long_command_at_another_reader() {
    let mut world = world_with(CardOptions { command_time: LONG, reset_time: SHORT, ..CardOptions::default() }).await;
    let (mut first, one) = world.program_with_handle(1).await;
    let (slow, _) = first.connect(READERS[1], SHARED).await.unwrap();
    let long = async move |mut first: Program| {
        first.transmit(slow, READ).await.unwrap();
    };
    a_place_is_given_up_during(long, world, first, one).await;
}

#[tokio::test]
async fn a_place_is_given_up_while_another_reader_takes_its_card() {
    let mut world = world_with(CardOptions { reset_time: LONGER, ..CardOptions::default() }).await;
    let (first, one) = world.program_with_handle(1).await;
    let long = async move |mut first: Program| {
        first.connect(READERS[1], SHARED).await.unwrap();
    };
    a_place_is_given_up_during(long, world, first, one).await;
}

/// A broker whose second reader has just got this card.
async fn world_with(card: CardOptions) -> World {
    let world = World::with(Config::default(), IdleTimes { shared: IDLE, ..IdleTimes::default() }).await;
    world.readers.insert(1, card);
    world.becomes_settling(1).await;
    world
}

/// Process 1 keeps a place by a handle of its first connection, which then makes a `long` call. Meanwhile its second
/// connection gets the turn, and keeps it for longer than it could if another program waited.
async fn a_place_is_given_up_during<Call: Future<Output = ()> + Send + 'static>(
    long: impl FnOnce(Program) -> Call,
    mut world: World,
    mut first: Program,
    one: u32,
) {
    let (mut rival, two) = world.program_with_handle(2).await;
    let mut sibling = world.program(1, 4).await;
    let (three, _) = sibling.connect(READERS[0], SHARED).await.unwrap();
    assert_eq!(rival.reconnect_as(two, EXCLUSIVE).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "its place is kept");
    let long = tokio::spawn(long(first));
    let beginning = tokio::spawn(async move { (sibling.begin(three).await, sibling) });
    let asked = Instant::now();
    while world.waiting(1).await < 2 {
        assert!(asked.elapsed() < LONG, "the calls do not wait");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rival.disconnect(two, 0).await, Code::SUCCESS);
    let (begun, mut sibling) = beginning.await.unwrap();
    assert_eq!(begun, Code::SUCCESS);
    assert_eq!(sibling.transmit(three, VERIFY).await.unwrap(), [0x90, 0]);
    tokio::time::sleep(3 * IDLE).await;
    assert_eq!(sibling.transmit(three, TRIES).await, Ok(vec![0x90, 0]), "it has lost its turn");
    assert!(!long.is_finished(), "the call was too short for this test");
    long.await.unwrap();
    world.stop().await;
}
