//! Several handles of one process, which never wait for each other.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::World,
    terms::{READ, READER, SHARED, VERIFY},
};

#[tokio::test]
async fn other_requests_are_refused_at_once_by_the_own_transaction() {
    let mut world = World::usual().await;
    let mut first = world.program(1, 4).await;
    let mut second = world.program(1, 4).await;
    let (one, _) = first.connect(READER, SHARED).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    second.transmit(two, READ).await.unwrap();
    while first.begin(one).await == Code::SHARING_VIOLATION {}
    let asked = Instant::now();
    assert_eq!(second.reconnect(two, 1).await, Code::SHARING_VIOLATION);
    assert_eq!(second.transmit(two, READ).await, Err(Code::SHARING_VIOLATION));
    assert_eq!(second.disconnect(two, 1).await, Code::SUCCESS);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0], "without a reset before its end");
    assert_eq!(first.end(one, 0).await, Code::SUCCESS);
    let asked = Instant::now();
    while first.status(one).await != Code::RESET_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10), "the card is never reset");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_held_request_is_refused_when_the_own_process_gets_the_turn() {
    let mut world = World::usual().await;
    let [(first, one), (mut rival, two)] = world.programs().await;
    let mut sibling = world.program(1, 4).await;
    let (three, _) = sibling.connect(READER, SHARED).await.unwrap();
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    let held = [(first, one), (sibling, three)].map(|(mut program, handle)| {
        tokio::spawn(async move {
            let code = program.begin(handle).await;
            (program, code, Instant::now())
        })
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ended = Instant::now();
    rival.end(two, 0).await;
    let mut codes = Vec::new();
    let mut programs = Vec::new();
    for held in held {
        let (program, code, answered) = held.await.unwrap();
        assert!(answered - ended < Duration::from_millis(500), "{code:?} after {:?}", answered - ended);
        codes.push(code);
        programs.push(program);
    }
    codes.sort_by_key(|code| code.0);
    assert_eq!(codes, [Code::SUCCESS, Code::SHARING_VIOLATION]);
    world.stop().await;
}

#[tokio::test]
async fn a_process_is_refused_at_once_by_its_own_transaction() {
    let mut world = World::usual().await;
    let mut first = world.program(1, 4).await;
    let mut second = world.program(1, 4).await;
    let (one, _) = first.connect(READER, SHARED).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    let asked = Instant::now();
    assert_eq!(second.begin(two).await, Code::SHARING_VIOLATION);
    assert!(asked.elapsed() < Duration::from_millis(500));
    first.end(one, 0).await;
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    world.stop().await;
}
