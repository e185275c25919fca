//! Connections that are read slowly, because their user's calls are refused again and again.

use std::time::{Duration, Instant};

use cardbroker_core::{budget, pcsclite::code::Code};

use super::{program::World, terms::SHARED};

/// The connections of one user are read one after the other: with so many the last one waits for about two seconds.
const SLOW: u32 = 2 * budget::PER_SECOND;

#[tokio::test]
async fn the_end_of_a_program_that_is_read_slowly_frees_the_card() {
    let mut world = World::usual().await;
    let [(mut killed, one), (mut rival, two)] = world.programs().await;
    assert_eq!(killed.begin(one).await, Code::SUCCESS);
    for _ in 0..budget::BURST + SLOW {
        assert_eq!(world.connect(3).code(0x0D, &[1, 0]).await, Code::INVALID_HANDLE);
    }
    assert_eq!(killed.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    drop(killed);
    let asked = Instant::now();
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    world.stop().await;
}
