//! Places in the queue of a process that keeps the turn itself: they do not count as others that wait.

use std::time::{Duration, Instant};

use cardbroker_core::{pcsclite::code::Code, simulated_card::CardOptions};

use super::{
    program::World,
    terms::{EXCLUSIVE, READ, READERS, SHARED, TRIES, VERIFY},
};
use crate::{config::Config, pcsclite::IdleTimes};

const IDLE: Duration = Duration::from_millis(300);
/// The time of a command in the second reader.
const LONG: Duration = Duration::from_secs(2);
/// The time in which the reader takes its new card.
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_place_is_given_up_during_a_long_command_at_another_reader() {
    let mut world = World::with(Config::default(), IdleTimes { shared: IDLE, ..IdleTimes::default() }).await;
    world.readers.insert(1, CardOptions { command_time: LONG, reset_time: SHORT, ..CardOptions::default() });
    world.becomes_settling(1).await;
    let [(mut first, one), (mut rival, two)] = world.programs().await;
    let (slow, _) = first.connect(READERS[1], SHARED).await.unwrap();
    let mut sibling = world.program(1, 4).await;
    let (three, _) = sibling.connect(READERS[0], SHARED).await.unwrap();
    assert_eq!(rival.reconnect_as(two, EXCLUSIVE).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "its place is kept");
    let long = tokio::spawn(async move { first.transmit(slow, READ).await });
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
    assert!(!long.is_finished(), "the command was too short for this test");
    long.await.unwrap().unwrap();
    world.stop().await;
}
