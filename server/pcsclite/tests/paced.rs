//! Connections that are read slowly, because their user's calls are refused again and again.

use std::time::{Duration, Instant};

use cardbroker_core::{budget, pcsclite::code::Code};

use super::{
    program::{Program, World},
    terms::{READ, SHARED},
};

/// The connections of one user are read one after the other: with so many the last one waits for about two seconds.
const SLOW: u32 = 2 * budget::PER_SECOND;

/// Uses up the budget of the user. Returns connections whose next calls wait: a call that must wait, too, is served
/// after them, in about two seconds.
async fn use_up_budget(world: &mut World) -> Vec<Program> {
    for _ in 0..budget::BURST {
        assert_eq!(world.connect(3).code(0x0D, &[1, 0]).await, Code::INVALID_HANDLE);
    }
    let mut waiting = Vec::new();
    for _ in 0..SLOW {
        let mut program = world.connect(3);
        assert_eq!(program.code(0x0D, &[1, 0]).await, Code::INVALID_HANDLE);
        program.send(0x0D, &[1_u32, 0].map(u32::to_ne_bytes).concat(), &[]).await;
        waiting.push(program);
    }
    waiting
}

#[tokio::test]
async fn the_end_of_a_program_that_is_read_slowly_frees_the_card() {
    let mut world = World::usual().await;
    let [(mut killed, one), (mut rival, two)] = world.programs().await;
    assert_eq!(killed.begin(one).await, Code::SUCCESS);
    let _waiting = use_up_budget(&mut world).await;
    assert_eq!(killed.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    killed.ask(one, READ, 258).await;
    // Its door has read the command by the time that it has answered another program.
    assert_eq!(rival.status(two).await, Code::SUCCESS);
    drop(killed);
    let asked = Instant::now();
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn one_refused_call_slows_one_call_that_may_wait() {
    let mut world = World::usual().await;
    let [(mut program, handle)] = world.programs().await;
    assert_eq!(program.begin(handle).await, Code::SUCCESS);
    let _waiting = use_up_budget(&mut world).await;
    assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    let asked = Instant::now();
    assert_eq!(program.status(handle).await, Code::SUCCESS);
    assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    let asked = Instant::now();
    assert_eq!(program.begin(handle).await, Code::SUCCESS);
    assert!(asked.elapsed() > Duration::from_millis(500), "{:?}", asked.elapsed());
    let asked = Instant::now();
    for _ in 0..40 {
        program.transmit(handle, READ).await.unwrap();
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn refused_calls_that_are_never_held_slow_the_next_call() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 4).await;
    let _waiting = use_up_budget(&mut world).await;
    let asked = Instant::now();
    for _ in 0..2 {
        assert_eq!(program.code(0x0D, &[1, 0]).await, Code::INVALID_HANDLE);
    }
    assert!(asked.elapsed() > Duration::from_millis(500), "{:?}", asked.elapsed());
    world.stop().await;
}
