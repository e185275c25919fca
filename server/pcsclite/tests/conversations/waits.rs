//! Random waits for changes: each gets one message, whatever happens meanwhile.

use std::cell::RefCell;

use cardbroker_core::{pcsclite::code::Code, properties::holds};
use proptest::{collection::vec, prelude::*};
use tokio::runtime::Builder;

use super::{
    super::program::{Program, World},
    conversations,
};
use crate::config::PcscliteConfig;

/// Something that happens while a program waits for a change.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The process connects a handle, or disconnects it.
    Handle,
    /// The process cancels the wait.
    Cancel,
    /// Another process connects a handle, or disconnects it.
    Rival,
    /// Nothing, while the door reads what has come.
    Pause,
}

/// The events before and after the client has the array, and whether it stops waiting in any case.
type Round = (Vec<Event>, Vec<Event>, bool);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let events = || {
        let event = prop_oneof![Just(Event::Handle), Just(Event::Cancel), Just(Event::Rival), Just(Event::Pause),];
        vec(event, 0..4)
    };
    vec((events(), events(), any::<bool>()), 1..6)
}

async fn toggle(program: &mut Program, handle: &mut Option<u32>) {
    match handle.take() {
        Some(handle) => assert_eq!(program.disconnect(handle, 0).await, Code::SUCCESS),
        None => *handle = Some(program.connect("Simulated Reader 00", 2).await.unwrap().0),
    }
}

/// Waits for changes by a client of this version. Each wait must get one message: from a change, a cancellation or
/// STOP.
async fn wait(world: &mut World, minor: u32, rounds: Vec<Round>) {
    let (mut waiter, mut sibling) = (world.program(1, minor).await, world.program(1, minor).await);
    let mut rival = world.program(2, minor).await;
    let (mut own, mut foreign) = (None, None);
    for (before, after, stops) in rounds {
        waiter.send(0x13, &[], &[]).await;
        // The answer shows that the door has read the request before.
        match minor {
            6 => {
                assert_eq!(waiter.array_size().await, 64_u32.to_ne_bytes());
            }
            _ => drop(waiter.receive_array(16).await),
        }
        let is_due = before.iter().chain(&after).any(|event| matches!(event, Event::Handle | Event::Cancel));
        let has_array_after = before.len();
        for (index, event) in before.into_iter().chain(after).map(Some).chain([None]).enumerate() {
            if index == has_array_after && minor == 6 {
                waiter.send(0x17, &[], &[]).await;
                waiter.receive_array(64).await;
            }
            match event {
                Some(Event::Handle) => toggle(&mut sibling, &mut own).await,
                Some(Event::Rival) => toggle(&mut rival, &mut foreign).await,
                Some(Event::Cancel) => {
                    assert_eq!(sibling.code(0x0D, &[waiter.context, 0]).await, Code::SUCCESS);
                }
                Some(Event::Pause) => tokio::task::yield_now().await,
                None => {}
            }
        }
        if stops || !is_due {
            waiter.send(0x14, &[], &[]).await;
        }
        waiter.receive_notice().await;
    }
    assert_eq!(waiter.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "one message for each wait");
}

#[test]
fn each_wait_gets_one_message_whatever_happens_meanwhile() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(PcscliteConfig::default()));
    let world = RefCell::new(world);
    holds(conversations() / 4, (4..=6_u32, rounds()), |(minor, rounds)| {
        let world = &mut *world.borrow_mut();
        runtime.block_on(async {
            world.open_another_door();
            wait(world, minor, rounds).await;
        });
        Ok(())
    });
    runtime.block_on(world.into_inner().stop());
}
