//! Handles that keep their turn and idle: how long they may, and what they see when they have lost it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::{Program, World},
    terms::{DIRECT, EXCLUSIVE, READ, READER, SHARED, TRIES, VERIFY},
};
use crate::{
    config::{Config, Isolation},
    pcsclite::IdleTimes,
};

/// So long that no test waits for it.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

async fn world(shared: Duration, exclusive: Duration) -> World {
    World::with(Config::default(), IdleTimes { shared, exclusive, own_group: LONG }).await
}

/// The time until the handle has its turn, for a transaction with one command.
async fn time_to_turn(program: &mut Program, handle: u32) -> Duration {
    let asked = Instant::now();
    while program.begin(handle).await == Code::SHARING_VIOLATION {
        assert!(asked.elapsed() < Duration::from_secs(20), "the card is never free");
    }
    let waited = asked.elapsed();
    program.transmit(handle, READ).await.unwrap();
    assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    waited
}

/// The number of insertions and removals of the first reader's card that the program sees.
async fn event_counter(program: &mut Program) -> u32 {
    program.send(0x12, &[], &[]).await;
    let array = program.receive_array(16).await;
    u32::from_ne_bytes(array[128..132].try_into().unwrap())
}

#[tokio::test]
async fn an_idle_transaction_ends_and_reports_a_reset() {
    let mut world = world(SHORT, LONG).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, SHARED).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    let counter = event_counter(&mut first).await;
    let waited = time_to_turn(&mut second, two).await;
    assert!(waited >= SHORT, "{waited:?}");
    assert_eq!(first.status(one).await, Code::RESET_CARD);
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    assert_eq!(first.end(one, 0).await, Code::RESET_CARD);
    assert_eq!(event_counter(&mut first).await, counter, "the card was not taken out");
    assert_eq!(first.reconnect_as(one, SHARED).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn an_idle_exclusive_handle_sees_another_insertion() {
    let mut world = world(LONG, SHORT).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, EXCLUSIVE).await.unwrap();
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    let counters = [event_counter(&mut first).await, event_counter(&mut second).await];
    // A program that waits for a change meanwhile is woken.
    let mut sibling = world.program(1, 4).await;
    sibling.send(0x13, &[], &[]).await;
    sibling.receive_array(16).await;
    let waited = time_to_turn(&mut second, two).await;
    assert!(waited >= SHORT, "{waited:?}");
    assert_eq!(sibling.receive_notice().await, Code::SUCCESS);
    assert_eq!(event_counter(&mut first).await, counters[0] + 2);
    assert_eq!(event_counter(&mut second).await, counters[1], "other programs see nothing of it");
    assert_eq!(first.status(one).await, Code::REMOVED_CARD);
    assert_eq!(first.transmit(one, READ).await, Err(Code::REMOVED_CARD));
    assert_eq!(first.reconnect_as(one, EXCLUSIVE).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn nobody_loses_an_idle_turn_alone() {
    let mut world = world(SHORT, SHORT).await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, EXCLUSIVE).await.unwrap();
    program.transmit(handle, VERIFY).await.unwrap();
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(program.transmit(handle, TRIES).await.unwrap(), [0x90, 0]);
    world.stop().await;
}

#[tokio::test]
async fn a_turn_idles_as_long_as_its_share_mode_may_now() {
    // From shared to exclusive.
    let mut world = world(SHORT, 4 * SHORT).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, SHARED).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    let idle = Instant::now();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.reconnect_as(one, EXCLUSIVE).await, Code::SUCCESS);
    time_to_turn(&mut second, two).await;
    assert!(idle.elapsed() >= 4 * SHORT, "{:?}", idle.elapsed());
    assert_eq!(first.status(one).await, Code::REMOVED_CARD);
    world.stop().await;
    // And back.
    let mut world = self::world(SHORT, LONG).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, EXCLUSIVE).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.transmit(one, READ).await.unwrap();
    assert_eq!(first.reconnect_as(one, SHARED).await, Code::SUCCESS);
    let waited = time_to_turn(&mut second, two).await;
    assert!(waited >= SHORT, "{waited:?}");
    assert_eq!(first.status(one).await, Code::RESET_CARD);
    world.stop().await;
}

#[tokio::test]
async fn a_busy_holder_gives_way_to_programs_of_its_own_group() {
    for share in [EXCLUSIVE, SHARED] {
        let mut config = Config::default();
        config.pcsclite.isolation = Isolation::User;
        let times = IdleTimes { shared: LONG, exclusive: LONG, own_group: SHORT };
        let mut world = World::with(config, times).await;
        let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
        let (one, _) = first.connect(READER, share).await.unwrap();
        let (two, _) = second.connect(READER, SHARED).await.unwrap();
        assert_eq!(first.begin(one).await, Code::SUCCESS);
        assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
        let busy = tokio::spawn(async move {
            while first.transmit(one, READ).await.is_ok() {}
            first.status(one).await
        });
        let waited = time_to_turn(&mut second, two).await;
        assert!((SHORT..10 * SHORT).contains(&waited), "{waited:?}");
        let told = if share == EXCLUSIVE { Code::REMOVED_CARD } else { Code::RESET_CARD };
        assert_eq!(busy.await.unwrap(), told);
        assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0], "the group keeps its PIN");
        world.stop().await;
    }
}

/// A broker that takes the card for turns only, and releases it after so long.
async fn on_demand(release_after: &str) -> World {
    let text = format!("[[reader]]\nmatch = \".*\"\nown = \"on_demand\"\nrelease_after = \"{release_after}\"\n");
    World::with(Config::parse(Path::new("c.toml"), &text).unwrap(), IdleTimes::default()).await
}

#[tokio::test]
async fn a_card_on_demand_is_released_by_an_idle_exclusive_handle() {
    let mut world = on_demand("1s").await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, EXCLUSIVE).await.unwrap();
    assert_eq!(program.transmit(handle, VERIFY).await.unwrap(), [0x90, 0]);
    let counter = event_counter(&mut program).await;
    let idle = Instant::now();
    while program.status(handle).await == Code::SUCCESS {
        assert!(idle.elapsed() < Duration::from_secs(10), "it keeps the card");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(idle.elapsed() >= Duration::from_millis(900), "{:?}", idle.elapsed());
    assert_eq!(program.status(handle).await, Code::REMOVED_CARD);
    assert_eq!(event_counter(&mut program).await, counter + 2);
    assert_eq!(program.reconnect_as(handle, EXCLUSIVE).await, Code::SUCCESS);
    assert_eq!(program.transmit(handle, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn an_exclusive_handle_has_time_for_its_next_call() {
    let mut world = on_demand("0s").await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, EXCLUSIVE).await.unwrap();
    assert_eq!(program.transmit(handle, VERIFY).await, Ok(vec![0x90, 0]));
    assert_eq!(program.transmit(handle, TRIES).await, Ok(vec![0x90, 0]));
    world.stop().await;
}

#[tokio::test]
async fn a_process_is_not_evicted_by_its_own_threads() {
    let mut world = world(SHORT, SHORT).await;
    let mut rival = world.program(2, 4).await;
    let (one, _) = rival.connect(READER, SHARED).await.unwrap();
    assert_eq!(rival.begin(one).await, Code::SUCCESS);
    let mut threads = Vec::new();
    for _ in 0..2 {
        let mut thread = world.program(1, 4).await;
        let (handle, _) = thread.connect(READER, SHARED).await.unwrap();
        threads.push(tokio::spawn(async move {
            let code = thread.begin(handle).await;
            (thread, handle, code)
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rival.end(one, 0).await, Code::SUCCESS);
    let mut begun = Vec::new();
    for thread in threads {
        begun.push(thread.await.unwrap());
    }
    begun.sort_by_key(|(_, _, code)| code.0);
    assert_eq!([begun[0].2, begun[1].2], [Code::SUCCESS, Code::SHARING_VIOLATION]);
    let (thread, handle, _) = &mut begun[0];
    assert_eq!(thread.transmit(*handle, VERIFY).await.unwrap(), [0x90, 0]);
    tokio::time::sleep(10 * SHORT).await;
    assert_eq!(thread.transmit(*handle, TRIES).await, Ok(vec![0x90, 0]), "it has lost its turn");
    world.stop().await;
}

#[tokio::test]
async fn handles_without_a_turn_do_not_keep_a_card_on_demand() {
    let mut world = on_demand("0s").await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, SHARED).await.unwrap();
    let (direct, _) = program.connect(READER, DIRECT).await.unwrap();
    assert_eq!(program.transmit(handle, VERIFY).await.unwrap(), [0x90, 0]);
    // With both handles connected.
    world.becomes_released().await;
    assert_eq!(program.status(direct).await, Code::SUCCESS);
    assert_eq!(program.begin(handle).await, Code::RESET_CARD, "the release is a reset");
    assert_eq!(program.reconnect_as(handle, SHARED).await, Code::SUCCESS);
    assert_eq!(program.transmit(handle, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}
