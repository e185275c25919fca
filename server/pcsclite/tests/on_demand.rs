//! Exclusive handles that idle at a reader whose card the broker takes on demand.

use std::time::{Duration, Instant};

use cardbroker_core::{lifecycle::Own, pcsclite::code::Code};

use super::{
    program::{Program, World},
    terms::{EXCLUSIVE, READ, READERS},
};
use crate::{
    config::{Isolation, PcscliteConfig, ReaderSettings},
    pcsclite::{DoorSettings, IdleTimes},
};

const LIMIT: Duration = Duration::from_millis(200);

async fn world() -> World {
    let mut world = World::new(PcscliteConfig::default()).await;
    let reader = |_: &str| ReaderSettings { own: Own::OnDemand, release_after: LIMIT, ..ReaderSettings::default() };
    world.open_door_with(DoorSettings {
        exclusive: Default::default(),
        isolation: Isolation::default(),
        idle: IdleTimes::default(),
        reader: Box::new(reader),
    });
    world
}

/// Waits until the handle has lost its turn.
async fn loses_its_turn(program: &mut Program, handle: u32) {
    let asked = Instant::now();
    while program.status(handle).await != Code::REMOVED_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_exclusive_handle_that_idles_loses_its_turn() {
    let mut world = world().await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READERS[0], EXCLUSIVE).await.unwrap();
    for _ in 0..3 {
        program.transmit(handle, READ).await.unwrap();
    }
    let idle = Instant::now();
    loses_its_turn(&mut program, handle).await;
    assert!(idle.elapsed() >= LIMIT, "{:?}", idle.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn a_handle_that_is_shared_now_keeps_its_transaction() {
    let mut world = world().await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READERS[0], EXCLUSIVE).await.unwrap();
    assert_eq!(program.begin(handle).await, Code::SUCCESS);
    assert_eq!(program.reconnect(handle, 0).await, Code::SUCCESS);
    program.transmit(handle, READ).await.unwrap();
    // A later exclusive handle idles for the time, and so does the first one.
    let mut other = world.program(2, 4).await;
    let (later, _) = other.connect(READERS[1], EXCLUSIVE).await.unwrap();
    loses_its_turn(&mut other, later).await;
    assert_eq!(program.status(handle).await, Code::SUCCESS);
    assert_eq!(program.transmit(handle, READ).await.unwrap(), [0, 1, 0x90, 0]);
    assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    world.stop().await;
}
