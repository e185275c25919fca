//! Random conversations: whatever programs send, the door answers each request with as many bytes as the protocol says,
//! or closes the connection.

use cardbroker_core::{pcsclite::code::Code, properties::holds};
use proptest::{collection::vec, prelude::*};
use tokio::runtime::Builder;

use super::program::{Program, World};
use crate::config::PcscliteConfig;

/// The number of conversations: few on a developer's machine, 50,000 in CI, or as many as the variable says.
fn conversations() -> u32 {
    let wanted = std::env::var("CONVERSATIONS").ok().and_then(|number| number.parse().ok());
    wanted.unwrap_or(if std::env::var_os("CI").is_some() { 50_000 } else { 2_000 })
}

/// A request of a program that knows the protocol, with numbers that may be wrong.
#[derive(Debug, Clone)]
enum Request {
    Connect(bool, u32),
    Begin(usize),
    End(usize, u32),
    Transmit(usize, Vec<u8>, u32),
    Reconnect(usize, u32, u32),
    Disconnect(usize, u32),
    Status(usize),
    Attribute(usize, u32),
    Control(usize),
    States,
    WaitAndStop,
    Events,
}

fn requests() -> impl Strategy<Value = Request> {
    let handle = || 0..3_usize;
    let command = prop_oneof![
        Just(vec![0x80, 0x10, 0, 0, 4]),
        Just(b"\x00\xA4\x04\x00\x06\xF0CARD\x01".to_vec()),
        Just(vec![0, 0xC0, 0, 0, 0x13]),
        vec(0..0x20_u8, 0..9),
    ];
    prop_oneof![
        3 => (any::<bool>(), 0..5_u32).prop_map(|(known, share)| Request::Connect(known, share)),
        3 => handle().prop_map(Request::Begin),
        3 => (handle(), 0..4_u32).prop_map(|(handle, disposition)| Request::End(handle, disposition)),
        4 => (handle(), command, 0..300_u32).prop_map(|(handle, bytes, room)| Request::Transmit(handle, bytes, room)),
        1 => (handle(), 0..5_u32, 0..3_u32).prop_map(|(handle, share, first)| Request::Reconnect(handle, share, first)),
        1 => (handle(), 0..4_u32).prop_map(|(handle, disposition)| Request::Disconnect(handle, disposition)),
        1 => handle().prop_map(Request::Status),
        1 => (handle(), any::<u32>()).prop_map(|(handle, attribute)| Request::Attribute(handle, attribute)),
        1 => handle().prop_map(Request::Control),
        1 => Just(Request::States),
        1 => Just(Request::WaitAndStop),
        1 => Just(Request::Events),
    ]
}

/// The minor version of the protocol, the requests, and the bytes with which the program ends the conversation.
type Talk = (u32, Vec<Request>, Vec<u8>);

async fn talk(mut program: Program, (minor, requests, last): Talk) {
    let mut handles: Vec<u32> = Vec::new();
    for request in requests {
        let handle = |index: usize| handles.get(index).copied();
        match request {
            Request::Connect(known, share) => {
                let reader = if known { "Simulated Reader 00" } else { "nothing" };
                if let Ok((handle, _)) = program.connect(reader, share).await {
                    handles.push(handle);
                }
            }
            Request::Begin(index) => {
                let Some(handle) = handle(index) else { continue };
                program.begin(handle).await;
            }
            Request::End(index, disposition) => {
                let Some(handle) = handle(index) else { continue };
                program.end(handle, disposition).await;
            }
            Request::Transmit(index, command, room) => {
                let Some(handle) = handle(index) else { continue };
                if let Ok(answer) = program.transmit_into(handle, &command, room).await {
                    assert!(answer.len() >= 2 && answer.len() <= room as usize);
                }
            }
            Request::Reconnect(index, share, first) => {
                let Some(handle) = handle(index) else { continue };
                program.call(0x05, &[handle, share, 3, first, 0, 0]).await;
            }
            Request::Disconnect(index, disposition) => {
                let Some(handle) = handle(index) else { continue };
                if program.disconnect(handle, disposition).await == Code::SUCCESS {
                    handles.remove(index);
                }
            }
            Request::Status(index) => {
                let Some(handle) = handle(index) else { continue };
                program.status(handle).await;
            }
            Request::Attribute(index, attribute) => {
                let Some(handle) = handle(index) else { continue };
                let mut body = [handle, attribute].map(u32::to_ne_bytes).concat();
                body.resize(280, 0);
                program.send(0x0F, &body, &[]).await;
                program.receive(280).await;
            }
            Request::Control(index) => {
                let Some(handle) = handle(index) else { continue };
                assert_eq!(program.code(0x0A, &[handle, 1, 0, 8, 0, 0]).await, Code::UNSUPPORTED_FEATURE);
            }
            Request::States => {
                program.send(0x12, &[], &[]).await;
                program.receive(16 * 184).await;
            }
            Request::WaitAndStop => {
                program.send(0x13, &[], &[]).await;
                if minor == 6 {
                    program.send(0x16, &[], &[]).await;
                    program.receive(4).await;
                    program.send(0x17, &[], &[]).await;
                    program.receive(64 * 184).await;
                } else {
                    program.receive(16 * 184).await;
                }
                // Either the answer, or the signal of a change that came before.
                program.send(0x14, &[], &[]).await;
                program.receive(8).await;
            }
            Request::Events => {
                program.send(0x15, &[], &[]).await;
                program.receive(8).await;
            }
        }
    }
    assert_eq!(program.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "the stream is in step");
    program.send(u32::MAX, &last, &[]).await;
    assert!(program.is_closed().await);
}

#[test]
fn random_conversations_stay_in_step() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(PcscliteConfig::default()));
    let world = std::cell::RefCell::new(world);
    // Two programs at the same time, in one process or in two.
    let talks = || (4..=6_u32, vec(requests(), 0..8), vec(any::<u8>(), 0..20));
    holds(conversations(), (talks(), talks(), 1..=2_u32), |(first, second, pid)| {
        let world = &mut *world.borrow_mut();
        runtime.block_on(async {
            world.open_another_door();
            let programs = [world.program(1, first.0).await, world.program(pid, second.0).await];
            let [one, two] = programs;
            tokio::join!(talk(one, first), talk(two, second));
        });
        Ok(())
    });
    runtime.block_on(world.into_inner().stop());
}

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
                waiter.send(0x16, &[], &[]).await;
                waiter.receive(4).await;
            }
            _ => drop(waiter.receive(16 * 184).await),
        }
        let is_due = before.iter().chain(&after).any(|event| matches!(event, Event::Handle | Event::Cancel));
        let has_array_after = before.len();
        for (index, event) in before.into_iter().chain(after).map(Some).chain([None]).enumerate() {
            if index == has_array_after && minor == 6 {
                waiter.send(0x17, &[], &[]).await;
                waiter.receive(64 * 184).await;
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
        waiter.receive(8).await;
    }
    assert_eq!(waiter.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "one message for each wait");
}

#[test]
fn each_wait_gets_one_message_whatever_happens_meanwhile() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(PcscliteConfig::default()));
    let world = std::cell::RefCell::new(world);
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
