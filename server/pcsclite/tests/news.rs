//! News for handles: resets, and selections by other programs.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::World,
    terms::{READ, READER, SELECT, SHARED, VERIFY},
};

const COUNT: &[u8] = &[0x80, 0x10, 0x00, 0x00, 0x04];

#[tokio::test]
async fn after_a_reset_every_user_of_the_card_gets_the_news() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, COUNT).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(second.end(two, 1).await, Code::SUCCESS);
    assert_eq!(second.status(two).await, Code::RESET_CARD, "the one that has reset it, too");
    assert_eq!([first.status(one).await, first.begin(one).await], [Code::RESET_CARD; 2]);
    assert_eq!(third.status(three).await, Code::SUCCESS, "it has sent nothing");
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.reconnect(one, 1).await, Code::SUCCESS, "its own reset is no news");
    assert_eq!(first.end(one, 0).await, Code::SUCCESS, "transactions survive it");
    world.stop().await;
}

#[tokio::test]
async fn a_handle_that_sleeps_learns_of_resets_by_its_status() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    first.transmit(one, READ).await.unwrap();
    second.transmit(two, VERIFY).await.unwrap();
    assert_eq!(first.status(one).await, Code::SUCCESS);
    // The broker itself resets the card that the program has left with a verified PIN.
    drop(second);
    let asked = Instant::now();
    while first.status(one).await != Code::RESET_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!([first.status(one).await, first.begin(one).await], [Code::SUCCESS; 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_foreign_selection_is_news_like_a_reset() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.transmit(two, SELECT).await.unwrap(), [0x61, 0x13]);
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.end(one, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_missed_turn_does_not_hide_a_foreign_selection() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "it keeps its place");
    second.transmit(two, SELECT).await.unwrap();
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    second.end(two, 0).await;
    // The third has its turn after the first has missed its own.
    while third.begin(three).await == Code::SHARING_VIOLATION {}
    third.end(three, 0).await;
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    world.stop().await;
}

#[tokio::test]
async fn a_refused_command_is_no_use_of_the_card() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let wrong = b"\x00\x20\x00\x80\x0887654321";
    assert_eq!(first.transmit(one, wrong).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(second.transmit(two, wrong).await.unwrap(), [0x63, 0xC2], "it did not reach the card");
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.end(one, 1).await, Code::SUCCESS);
    assert_eq!(second.status(two).await, Code::SUCCESS, "it has sent nothing");
    world.stop().await;
}

#[tokio::test]
async fn the_turn_with_bad_news_is_kept_for_the_reconnect() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    second.transmit(two, SELECT).await.unwrap();
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "it keeps its place");
    let waiting = tokio::spawn(async move {
        while third.begin(three).await == Code::SHARING_VIOLATION {}
        third
    });
    let granted = tokio::spawn(async move {
        let code = first.begin(one).await;
        (first, code)
    });
    tokio::task::yield_now().await;
    second.end(two, 0).await;
    let (mut first, code) = granted.await.unwrap();
    assert_eq!(code, Code::RESET_CARD);
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS, "in the same turn, before the third");
    first.end(one, 0).await;
    waiting.await.unwrap();
    world.stop().await;
}
