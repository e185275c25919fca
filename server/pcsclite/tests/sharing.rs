//! Share modes under `exclusive = "strict"`, the limits of handles, and turns that end while a request is held.

use std::time::{Duration, Instant};

use cardbroker_core::{pcsclite::code::Code, simulated_card::CardOptions};

use super::{
    program::{Program, World},
    terms::{DIRECT, EXCLUSIVE, READ, READERS, SHARED},
};
use crate::{
    config::{Config, Exclusive, Isolation, PcscliteConfig},
    pcsclite::IdleTimes,
};

/// The maximum number of handles of one user.
const HANDLES: usize = 512;

#[tokio::test]
async fn strict_share_modes_are_those_of_pcscd() {
    let mut world = World::new(PcscliteConfig { exclusive: Exclusive::Strict, ..PcscliteConfig::default() }).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READERS[0], EXCLUSIVE).await.unwrap();
    for share in [EXCLUSIVE, SHARED, DIRECT] {
        assert_eq!(second.connect(READERS[0], share).await, Err(Code::SHARING_VIOLATION), "share mode {share}");
    }
    second.connect(READERS[1], EXCLUSIVE).await.expect("another reader");
    assert_eq!(first.reconnect_as(one, SHARED).await, Code::SUCCESS);
    let (two, _) = second.connect(READERS[0], SHARED).await.unwrap();
    assert_eq!(second.connect(READERS[0], EXCLUSIVE).await, Err(Code::SHARING_VIOLATION));
    assert_eq!(first.reconnect_as(one, EXCLUSIVE).await, Code::SHARING_VIOLATION);
    assert_eq!(first.transmit(one, READ).await.unwrap()[2..], [0x90, 0], "it is still a shared handle");
    assert_eq!(second.disconnect(two, 0).await, Code::SUCCESS);
    assert_eq!(first.reconnect_as(one, EXCLUSIVE).await, Code::SUCCESS);
    world.stop().await;
}

#[tokio::test]
async fn one_reader_may_be_strict_alone() {
    let text = "[[reader]]\nmatch = \".*00\"\npcsclite_exclusive = \"strict\"";
    let mut world = World::with(Config::parse("c.toml".as_ref(), text).unwrap(), IdleTimes::default()).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    for (reader, refused) in READERS.into_iter().zip([Err(Code::SHARING_VIOLATION), Ok(())]) {
        first.connect(reader, EXCLUSIVE).await.unwrap();
        assert_eq!(second.connect(reader, SHARED).await.map(drop), refused, "{reader}");
    }
    world.stop().await;
}

#[tokio::test]
async fn too_many_handles_of_one_user_find_no_memory() {
    let mut world = World::new(PcscliteConfig::default()).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let mut handles = Vec::new();
    for _ in 0..HANDLES {
        handles.push(first.connect(READERS[0], SHARED).await.unwrap().0);
    }
    assert_eq!(second.connect(READERS[1], DIRECT).await, Err(Code::NO_MEMORY), "of all processes together");
    assert_eq!(first.transmit(handles[HANDLES - 1], READ).await.unwrap()[2..], [0x90, 0]);
    assert_eq!(first.disconnect(handles[0], 0).await, Code::SUCCESS);
    let (two, _) = second.connect(READERS[1], DIRECT).await.expect("a handle is free again");
    assert_eq!(second.disconnect(two, 0).await, Code::SUCCESS);
    // The end of a program frees its handles.
    drop(first);
    let asked = Instant::now();
    for _ in 0..HANDLES {
        while let Err(code) = second.connect(READERS[1], DIRECT).await {
            assert!(code == Code::NO_MEMORY && asked.elapsed() < Duration::from_secs(10), "{code:?}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_turn_ends_while_its_context_waits_for_a_new_card() {
    let mut world = World::new(PcscliteConfig::default()).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READERS[0], SHARED).await.unwrap();
    let (two, _) = second.connect(READERS[0], SHARED).await.unwrap();
    let slow = CardOptions { reset_time: Duration::from_millis(1500), ..CardOptions::default() };
    world.readers.insert(1, slow);
    world.becomes_settling(1).await;
    // Its turn rests when the request for the other reader begins to wait.
    first.transmit(one, READ).await.unwrap();
    let asked = Instant::now();
    let connecting = tokio::spawn(async move {
        let connected = first.connect(READERS[1], SHARED).await;
        (first, connected, asked.elapsed())
    });
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    let waited = asked.elapsed();
    assert!(waited < Duration::from_millis(700), "the turn has not ended for {waited:?}");
    let (_first, connected, took) = connecting.await.unwrap();
    connected.expect("the card was taken meanwhile");
    assert!(took > waited, "the request was answered before: {took:?}");
    world.stop().await;
}

/// Two programs in one isolation group, with a handle each at the first reader.
async fn group() -> (World, [(Program, u32); 2]) {
    let mut world = World::new(PcscliteConfig { isolation: Isolation::User, ..PcscliteConfig::default() }).await;
    let programs = world.programs().await;
    (world, programs)
}

#[tokio::test]
async fn a_failed_reconnect_leaves_the_news_of_a_reset() {
    let (world, [(mut first, one), (mut second, two)]) = group().await;
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(second.reconnect(two, 1).await, Code::SUCCESS, "with a reset");
    assert_eq!(first.reconnect_as(one, EXCLUSIVE).await, Code::SHARING_VIOLATION);
    assert_eq!(second.end(two, 0).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    world.stop().await;
}
