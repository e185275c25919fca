//! Resets that handles leave behind: each one reaches the card before the next turn, of any program.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::{code::Code, rest::RECONNECT};

use super::{
    program::{Program, World},
    terms::{RESET, TRIES, VERIFY},
};
use crate::{
    config::{Config, Isolation},
    pcsclite::IdleTimes,
};

/// Programs in one isolation group, with a handle each at a reader with this many places in its queue.
async fn group<const COUNT: usize>(places: usize) -> (World, [(Program, u32); COUNT]) {
    group_with(places, "").await
}

/// As [`group`], with these rules.
async fn group_with<const COUNT: usize>(places: usize, rules: &str) -> (World, [(Program, u32); COUNT]) {
    let mut config = Config::parse("c.toml".as_ref(), rules).unwrap();
    config.pcsclite.isolation = Isolation::User;
    config.limits.max_waiting_per_reader = places;
    let mut world = World::with(config, IdleTimes::default()).await;
    let programs = world.programs().await;
    (world, programs)
}

#[tokio::test]
async fn a_disconnect_resets_for_commands_before_a_reconnect() {
    let (world, [(mut first, one), (mut second, two)]) = group(8).await;
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.disconnect(one, RESET).await, Code::SUCCESS);
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn a_disconnect_resets_only_what_the_handle_has_left() {
    let (world, [(mut first, one), (mut second, two), (mut third, three)]) = group(8).await;
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0]);
    assert_eq!(second.disconnect(two, RESET).await, Code::SUCCESS);
    // The third program has not used the card before: it gets no news of the reset.
    assert_eq!(third.transmit(three, VERIFY).await.unwrap(), [0x90, 0]);
    assert_eq!(first.disconnect(one, RESET).await, Code::SUCCESS);
    assert_eq!(third.transmit(three, TRIES).await.unwrap(), [0x90, 0], "reset for another's commands");
    world.stop().await;
}

#[tokio::test]
async fn a_disconnect_resets_even_if_the_client_is_gone() {
    let (world, [(mut first, one), (mut second, two)]) = group(8).await;
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    while second.begin(two).await == Code::SHARING_VIOLATION {}
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0]);
    first.send(0x06, &[one, RESET, 0].map(u32::to_ne_bytes).concat(), &[]).await;
    drop(first);
    assert_eq!(second.end(two, 0).await, Code::SUCCESS);
    let asked = Instant::now();
    while second.status(two).await != Code::RESET_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10), "the card is never reset");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_disconnect_resets_after_the_turn_of_others() {
    let (world, [(mut first, one), (mut second, two)]) = group(8).await;
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    while second.begin(two).await == Code::SHARING_VIOLATION {}
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0]);
    let asked = Instant::now();
    assert_eq!(first.disconnect(one, RESET).await, Code::SUCCESS);
    assert!(asked.elapsed() < Duration::from_millis(500), "it waited for {:?}", asked.elapsed());
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0], "not in the transaction");
    assert_eq!(second.end(two, 0).await, Code::SUCCESS);
    while second.status(two).await != Code::RESET_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10), "the card is never reset");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_disconnect_resets_before_programs_that_wait() {
    for places in [1, 8] {
        let (world, [(mut first, one), (mut second, two), (mut third, three)]) = group(places).await;
        assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
        while second.begin(two).await == Code::SHARING_VIOLATION {}
        assert_eq!(third.begin(three).await, Code::SHARING_VIOLATION, "its place is kept");
        assert_eq!(first.disconnect(one, RESET).await, Code::SUCCESS);
        assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0], "not in the transaction");
        assert_eq!(second.end(two, 0).await, Code::SUCCESS);
        assert_eq!(third.begin(three).await, Code::SUCCESS);
        assert_eq!(third.transmit(three, TRIES).await.unwrap(), [0x63, 0xC3], "{places} places");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_transaction_that_ends_with_a_reset_gives_the_card_on_at_once() {
    const TURNS: u32 = 10;
    let (world, [(mut first, one), (mut second, two)]) = group(8).await;
    let mut waited = Duration::ZERO;
    for _ in 0..TURNS {
        assert_eq!(first.begin(one).await, Code::SUCCESS);
        first.transmit(one, TRIES).await.unwrap();
        let waiting = tokio::spawn(async move { (second.begin(two).await, second) });
        while world.waiting(2).await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(first.end(one, RESET).await, Code::SUCCESS);
        let ended = Instant::now();
        let begun;
        (begun, second) = waiting.await.unwrap();
        assert_eq!(begun, Code::SUCCESS);
        waited += ended.elapsed();
        assert_eq!(second.end(two, 0).await, Code::SUCCESS);
        assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    }
    // The first program gets the news of its own reset: the rest of 100 ms after such news would be for nothing.
    assert!(waited < TURNS * RECONNECT * 6 / 10, "{waited:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_disconnect_resets_without_the_permission_for_resets() {
    let rules = "rule = [{ name = 'n', principals = ['anyone'], deny = ['reset'] }]";
    let (world, [(mut first, one), (mut second, two)]) = group_with(8, rules).await;
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
    assert_eq!(first.reconnect(one, RESET).await, Code::SECURITY_VIOLATION);
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x90, 0]);
    assert_eq!(first.disconnect(one, RESET).await, Code::SUCCESS);
    assert_eq!(second.transmit(two, TRIES).await, Err(Code::RESET_CARD));
    assert_eq!(second.reconnect(two, 0).await, Code::SUCCESS);
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}
