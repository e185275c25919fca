//! Calls that keep no place in the queue, behind a handle that has idled for long: they get its turn after all.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::World,
    terms::{EXCLUSIVE, READ, READER, RESET, TRIES, VERIFY},
};
use crate::{config::Config, pcsclite::IdleTimes};

/// Longer than one call waits: the second call gets the turn.
async fn world(idle: Duration) -> World {
    World::with(Config::default(), IdleTimes { shared: idle, exclusive: idle, ..IdleTimes::default() }).await
}

#[tokio::test]
async fn a_second_exclusive_program_gets_the_card_of_an_idle_one() {
    let idle = Duration::from_millis(5_200);
    let mut world = world(idle).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, EXCLUSIVE).await.unwrap();
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    let asked = Instant::now();
    assert_eq!(second.connect(READER, EXCLUSIVE).await, Err(Code::SHARING_VIOLATION), "the first may still idle");
    let (two, _) = second.connect(READER, EXCLUSIVE).await.expect("the first has idled for long enough");
    assert!(asked.elapsed() < 2 * idle, "{:?}", asked.elapsed());
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x63, 0xC3]);
    assert_eq!(first.status(one).await, Code::REMOVED_CARD);
    world.stop().await;
}

#[tokio::test]
async fn a_reconnect_with_a_reset_gets_the_card_of_an_idle_transaction() {
    let idle = Duration::from_millis(1_200);
    let mut world = world(idle).await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.transmit(one, READ).await.unwrap();
    let asked = Instant::now();
    let mut refused = 0;
    while second.reconnect(two, RESET).await == Code::SHARING_VIOLATION {
        refused += 1;
        assert!(asked.elapsed() < 10 * idle, "the card is never free");
    }
    assert_eq!(refused, 1, "after {:?}", asked.elapsed());
    assert_eq!(first.status(one).await, Code::RESET_CARD);
    world.stop().await;
}
