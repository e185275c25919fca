//! Connections after the release of their context.

use std::time::Duration;

use cardbroker_core::{budget, pcsclite::code::Code};

use super::{
    program::{Program, World},
    terms::{READER, SHARED},
};

/// Longer than a connection may be without a context.
const LONG: Duration = Duration::from_secs(11);

/// Lets this much time pass for timers, but no real time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn release(program: &mut Program) -> Code {
    program.code(0x02, &[program.context, 0]).await
}

#[tokio::test]
async fn a_connection_whose_old_context_is_released_stays_open() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 4).await;
    pass(LONG).await;
    assert_eq!(release(&mut program).await, Code::SUCCESS);
    program.establish(4).await;
    program.connect(READER, SHARED).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn connections_without_a_context_any_more_end_uncharged() {
    let mut world = World::usual().await;
    let mut programs = Vec::new();
    for _ in 0..100 {
        let mut program = world.program(1, 4).await;
        assert_eq!(release(&mut program).await, Code::SUCCESS);
        programs.push(program);
    }
    pass(LONG).await;
    for program in &mut programs {
        assert!(program.is_closed().await);
    }
    // As many refused calls as are read at full speed; each end had cost one of them.
    let mut program = world.program(1, 4).await;
    let began = std::time::Instant::now();
    for _ in 0..budget::BURST {
        assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    world.stop().await;
}
