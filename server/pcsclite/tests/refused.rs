//! Programs that are refused again and again, that break the protocol, and that open too much.

use std::time::{Duration, Instant};

use cardbroker_core::{budget, pcsclite::code::Code};

use super::{
    program::World,
    terms::{READER, SHARED},
};

#[tokio::test]
async fn a_program_that_is_refused_again_and_again_is_read_slowly() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 4).await;
    for _ in 0..budget::BURST {
        assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    }
    let began = Instant::now();
    for _ in 0..10 {
        program.connect("Reader of nobody", SHARED).await.unwrap_err();
    }
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn a_new_program_of_a_refused_user_waits_only_for_calls_that_may_wait() {
    let mut world = World::usual().await;
    let began = Instant::now();
    for _ in 0..2 * budget::BURST {
        assert_eq!(world.connect(2).code(0x0D, &[1, 0]).await, Code::INVALID_HANDLE);
    }
    let mut program = world.program(1, 4).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let began = Instant::now();
    program.connect(READER, SHARED).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(10), "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_names_anothers_handle_is_closed() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, _)] = world.programs().await;
    second.send(0x0B, &[one, 0].map(u32::to_ne_bytes).concat(), &[]).await;
    assert!(second.is_closed().await);
    assert_eq!(first.status(one).await, Code::SUCCESS);
    first.send(0x03, &[], &[]).await;
    assert!(first.is_closed().await, "unknown command");
    world.stop().await;
}

#[tokio::test]
async fn too_many_contexts_of_one_user_find_no_memory() {
    let mut world = World::usual().await;
    let mut programs = Vec::new();
    for _ in 0..128 {
        programs.push(world.program(1, 4).await);
    }
    let mut program = world.connect(1);
    program.call(0x11, &[4, 4, 0]).await;
    assert_eq!(program.code(0x01, &[2, 0, 0]).await, Code::NO_MEMORY);
    let first = &mut programs[0];
    assert_eq!(first.code(0x02, &[first.context, 0]).await, Code::SUCCESS);
    assert_eq!(program.code(0x01, &[2, 0, 0]).await, Code::SUCCESS, "a context is free again");
    assert_eq!(first.code(0x01, &[2, 0, 0]).await, Code::NO_MEMORY);
    // The end of a program frees its context.
    programs.pop();
    let (first, asked) = (&mut programs[0], Instant::now());
    while first.code(0x01, &[2, 0, 0]).await != Code::SUCCESS {
        assert!(asked.elapsed() < Duration::from_secs(10), "the context is never free");
    }
    world.stop().await;
}
