//! Places in the queue of clients that were told to ask again: a client is back for its turn in time, or misses it.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;
use tokio::task::JoinHandle;

use super::program::{Program, World};

/// The time for a client to come back for its turn.
const PICK_UP: Duration = Duration::from_millis(250);
/// The number of turns that a client may miss in a row. The last one ends its wait.
const MISSES: usize = 3;

/// Requests a transaction, which is held. When this returns, the door has read the request: `witness` has had answers
/// since.
async fn request(mut program: Program, handle: u32, witness: &mut (Program, u32)) -> JoinHandle<Code> {
    let request = tokio::spawn(async move { program.begin(handle).await });
    for _ in 0..10 {
        assert_eq!(witness.0.status(witness.1).await, Code::SUCCESS);
    }
    request
}

/// Ends the transaction of the program and begins another one, so many times. Returns how long each beginning took.
async fn waits(program: &mut Program, handle: u32, times: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
        assert_eq!(program.begin(handle).await, Code::SUCCESS);
        waits.push(began.elapsed());
    }
    waits
}

/// The program is back for its turn, and a later request is served after it.
async fn is_served_before(later: JoinHandle<Code>, program: &mut Program, handle: u32) {
    assert_eq!(program.begin(handle).await, Code::SUCCESS);
    assert!(!later.is_finished(), "the later one was served first");
    assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    assert_eq!(later.await.unwrap(), Code::SUCCESS);
}

#[tokio::test]
async fn a_client_that_is_back_in_time_is_served_before_later_ones() {
    let mut world = World::usual().await;
    let [mut holder, (mut polling, two), (later, three)] = world.programs().await;
    assert_eq!(holder.0.begin(holder.1).await, Code::SUCCESS);
    assert_eq!(polling.begin(two).await, Code::SHARING_VIOLATION, "its place is kept");
    assert_eq!(holder.0.end(holder.1, 0).await, Code::SUCCESS);
    let waiting = request(later, three, &mut holder).await;
    is_served_before(waiting, &mut polling, two).await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_misses_one_turn_is_asked_again() {
    let mut world = World::usual().await;
    let [mut holder, (mut polling, two), (later, three)] = world.programs().await;
    assert_eq!(holder.0.begin(holder.1).await, Code::SUCCESS);
    assert_eq!(polling.begin(two).await, Code::SHARING_VIOLATION, "its place is kept");
    let (program, handle) = &mut holder;
    let waits = waits(program, *handle, 1).await;
    assert!(waits[0] >= PICK_UP, "the turn was for the client that is away: {waits:?}");
    // The client waits again, behind the holder and in front of later ones.
    let waiting = request(later, three, &mut holder).await;
    assert_eq!(holder.0.end(holder.1, 0).await, Code::SUCCESS);
    is_served_before(waiting, &mut polling, two).await;
    world.stop().await;
}

#[tokio::test]
async fn the_third_miss_in_a_row_ends_the_wait() {
    let mut world = World::usual().await;
    let [(mut holder, one), (mut polling, two)] = world.programs().await;
    assert_eq!(holder.begin(one).await, Code::SUCCESS);
    assert_eq!(polling.begin(two).await, Code::SHARING_VIOLATION, "its place is kept");
    let waits = waits(&mut holder, one, MISSES + 1).await;
    let (missed, last) = waits.split_at(MISSES);
    assert!(missed.iter().all(|wait| *wait >= PICK_UP), "the place is lost too early: {waits:?}");
    assert!(last[0] < PICK_UP, "the place is kept for too long: {waits:?}");
    assert_eq!(holder.end(one, 0).await, Code::SUCCESS);
    assert_eq!(polling.begin(two).await, Code::SUCCESS, "it may wait anew");
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_in_between_may_miss_as_many_turns_again() {
    let mut world = World::usual().await;
    let [(mut holder, one), (mut polling, two)] = world.programs().await;
    assert_eq!(holder.begin(one).await, Code::SUCCESS);
    assert_eq!(polling.begin(two).await, Code::SHARING_VIOLATION, "its place is kept");
    let before = waits(&mut holder, one, MISSES - 1).await;
    assert_eq!(polling.begin(two).await, Code::SHARING_VIOLATION, "the holder has its turn");
    let after = waits(&mut holder, one, MISSES).await;
    assert!(before.iter().chain(&after).all(|wait| *wait >= PICK_UP), "{before:?} {after:?}");
    world.stop().await;
}
