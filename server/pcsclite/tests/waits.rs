//! Waits for changes of readers, and their ends.

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::{Program, World},
    terms::{READER, SHARED},
};

#[tokio::test]
async fn the_counter_of_readers_is_the_same_in_each_context() {
    let mut world = World::usual().await;
    let mut counts = Vec::new();
    for _ in 0..2 {
        let mut program = world.program(1, 5).await;
        program.send(0x15, &[], &[]).await;
        counts.push(program.receive(8).await);
    }
    assert_eq!(counts, [[3, 0].map(u32::to_ne_bytes).concat(), [3, 0].map(u32::to_ne_bytes).concat()]);
    world.stop().await;
}

#[tokio::test]
async fn a_wait_ends_by_a_change_by_stop_or_by_cancel() {
    let mut world = World::usual().await;
    for minor in [4, 6] {
        let (mut waiter, mut other) = (world.program(1, minor).await, world.program(1, minor).await);
        let wait = async |waiter: &mut Program| {
            waiter.send(0x13, &[], &[]).await;
            match minor {
                4 => drop(waiter.receive_array(16).await),
                _ => {
                    assert_eq!(waiter.array_size().await, 64_u32.to_ne_bytes());
                    waiter.send(0x17, &[], &[]).await;
                    waiter.receive_array(64).await;
                }
            }
        };
        wait(&mut waiter).await;
        waiter.send(0x14, &[], &[]).await;
        assert_eq!(waiter.receive_notice().await, Code::SUCCESS, "stopped");
        wait(&mut waiter).await;
        let mut canceller = world.connect(1);
        assert_eq!(canceller.code(0x0D, &[waiter.context, 0]).await, Code::SUCCESS);
        assert_eq!(waiter.receive_notice().await, Code::CANCELLED);
        let mut stranger = world.connect(2);
        assert_eq!(stranger.code(0x0D, &[waiter.context, 0]).await, Code::INVALID_HANDLE);
        wait(&mut waiter).await;
        other.connect(READER, SHARED).await.unwrap();
        assert_eq!(waiter.receive_notice().await, Code::SUCCESS, "the process has another handle");
        waiter.send(0x14, &[], &[]).await;
        assert_eq!(waiter.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "no second message");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_change_before_the_array_was_sent_follows_the_array() {
    let mut world = World::usual().await;
    let (mut waiter, mut other) = (world.program(1, 6).await, world.program(1, 6).await);
    for changes_before_size in [true, false] {
        waiter.send(0x13, &[], &[]).await;
        // The door has read the wait once it answers another request behind it.
        assert_eq!(waiter.call(0x11, &[4, 6, 0]).await, [4, 6, 0]);
        if changes_before_size {
            other.connect(READER, SHARED).await.unwrap();
        }
        assert_eq!(waiter.array_size().await, 64_u32.to_ne_bytes());
        if !changes_before_size {
            other.connect(READER, SHARED).await.unwrap();
        }
        waiter.send(0x17, &[], &[]).await;
        waiter.receive_array(64).await;
        assert_eq!(waiter.receive_notice().await, Code::SUCCESS, "changed");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_wait_that_is_cancelled_ends_with_it_although_a_reader_has_changed() {
    let mut world = World::usual().await;
    let mut waiter = world.program(1, 4).await;
    waiter.send(0x13, &[], &[]).await;
    waiter.receive_array(16).await;
    world.change_and_cancel(1, waiter.context);
    assert_eq!(waiter.receive_notice().await, Code::CANCELLED);
    waiter.send(0x14, &[], &[]).await;
    assert_eq!(waiter.call(0x11, &[4, 4, 0]).await, [4, 4, 0], "no second message");
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_without_a_wait_does_not_end_the_next_one() {
    let mut world = World::usual().await;
    let [(mut waiter, one), (mut rival, two)] = world.programs().await;
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    // Held for a second. The wait comes at once after it.
    waiter.send(0x07, &[one, 0].map(u32::to_ne_bytes).concat(), &[]).await;
    waiter.send(0x13, &[], &[]).await;
    for _ in 0..10 {
        assert_eq!(rival.status(two).await, Code::SUCCESS);
    }
    let mut canceller = world.connect(1);
    assert_eq!(canceller.code(0x0D, &[waiter.context, 0]).await, Code::SUCCESS);
    assert_eq!(waiter.receive(8).await[4..], Code::SHARING_VIOLATION.0.to_ne_bytes());
    waiter.receive_array(16).await;
    assert_eq!(rival.status(two).await, Code::SUCCESS);
    waiter.send(0x14, &[], &[]).await;
    assert_eq!(waiter.receive_notice().await, Code::SUCCESS, "stopped, not cancelled");
    world.stop().await;
}
