//! A card that is pulled while calls wait for their turn.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{program::World, terms::READ};

#[tokio::test]
async fn calls_that_wait_hear_of_the_removal_at_once() {
    let mut world = World::usual().await;
    let [(mut holder, one), (mut beginning, two), (mut sending, three)] = world.programs().await;
    assert_eq!(holder.begin(one).await, Code::SUCCESS);
    let asked = Instant::now();
    let begin = tokio::spawn(async move { (beginning.begin(two).await, beginning) });
    let transmit = tokio::spawn(async move { (sending.transmit(three, READ).await, sending) });
    while world.waiting(2).await + world.waiting(3).await < 2 {
        assert!(asked.elapsed() < Duration::from_millis(500), "the calls do not wait");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.readers.remove(0);
    let (begun, mut beginning) = begin.await.unwrap();
    assert_eq!(begun, Code::REMOVED_CARD);
    let (sent, mut sending) = transmit.await.unwrap();
    assert_eq!(sent, Err(Code::REMOVED_CARD));
    assert!(asked.elapsed() < Duration::from_millis(900), "{:?}", asked.elapsed());
    assert_eq!([beginning.status(two).await, sending.status(three).await], [Code::REMOVED_CARD; 2]);
    while holder.status(one).await != Code::REMOVED_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10), "the holder has its card for ever");
    }
    assert_eq!(holder.end(one, 0).await, Code::REMOVED_CARD);
    world.stop().await;
}
