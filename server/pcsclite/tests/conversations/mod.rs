//! Random conversations: whatever programs send, the door answers each request with as many bytes as the protocol says,
//! or closes the connection.

mod waits;

use std::cell::RefCell;

use cardbroker_core::{pcsclite::code::Code, properties::holds, simulated_card::CardOptions};
use proptest::{collection::vec, prelude::*};
use tokio::runtime::Builder;

use super::program::{Program, World};
use crate::{
    backend::simulated::Simulated,
    config::{Config, Exclusive, Isolation, PcscliteConfig},
    pcsclite::DoorSettings,
};

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
    GetAttribute(usize, u32),
    SetAttribute(usize, u32),
    Control(usize),
    States,
    WaitAndStop,
    Events,
    /// Cancels the wait of one of the contexts.
    Cancel(usize),
    /// Releases the context, and establishes another one.
    Release,
    /// Names a handle of the other program, or of nobody. The door closes the connection.
    Foreign(u32, usize),
    /// Names a context of the other program, or of nobody, to release it. The door closes the connection.
    ForeignRelease(usize),
    /// Somebody pulls the card of a reader.
    Pull,
    /// Somebody inserts a card, in place of the one that is there.
    Insert,
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
        1 => (handle(), any::<u32>()).prop_map(|(handle, attribute)| Request::GetAttribute(handle, attribute)),
        1 => (handle(), any::<u32>()).prop_map(|(handle, attribute)| Request::SetAttribute(handle, attribute)),
        1 => handle().prop_map(Request::Control),
        1 => Just(Request::States),
        1 => Just(Request::WaitAndStop),
        1 => Just(Request::Events),
        1 => (0..3_usize).prop_map(Request::Cancel),
        1 => Just(Request::Release),
        // They end the conversation.
        1 => prop_oneof![
            3 => (prop_oneof![Just(0x07), Just(0x0B)], handle())
                .prop_map(|(call, handle)| Request::Foreign(call, handle)),
            1 => (0..3_usize).prop_map(Request::ForeignRelease),
        ],
        1 => Just(Request::Pull),
        2 => Just(Request::Insert),
    ]
}

/// The minor version of the protocol, the requests, and the bytes with which the program ends the conversation.
type Talk = (u32, Vec<Request>, Vec<u8>);

/// The parts of a world that its programs name or move.
struct Common {
    readers: Simulated,
    /// All handles so far, and all contexts.
    handles: RefCell<Vec<u32>>,
    contexts: RefCell<Vec<u32>>,
}

/// The number in this place, other than the `own` ones; 0, which is nobody's, if there is none.
fn foreign(all: &RefCell<Vec<u32>>, own: &[u32], index: usize) -> u32 {
    let foreign: Vec<u32> = all.borrow().iter().copied().filter(|number| !own.contains(number)).collect();
    foreign.get(index).copied().unwrap_or_default()
}

async fn talk(mut program: Program, (minor, requests, last): Talk, common: &Common) {
    let mut handles: Vec<u32> = Vec::new();
    common.contexts.borrow_mut().push(program.context);
    for request in requests {
        let handle = |index: usize| handles.get(index).copied();
        match request {
            Request::Connect(known, share) => {
                let reader = if known { "Simulated Reader 00" } else { "nothing" };
                if let Ok((handle, _)) = program.connect(reader, share).await {
                    handles.push(handle);
                    common.handles.borrow_mut().push(handle);
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
            Request::GetAttribute(index, attribute) | Request::SetAttribute(index, attribute) => {
                let Some(handle) = handle(index) else { continue };
                let command = if matches!(request, Request::GetAttribute(..)) { 0x0F } else { 0x10 };
                let mut body = [handle, attribute].map(u32::to_ne_bytes).concat();
                body.resize(280, 0);
                program.send(command, &body, &[]).await;
                program.receive(280).await;
            }
            Request::Control(index) => {
                let Some(handle) = handle(index) else { continue };
                assert_eq!(program.code(0x0A, &[handle, 1, 0, 8, 0, 0]).await, Code::UNSUPPORTED_FEATURE);
            }
            Request::States => {
                program.send(0x12, &[], &[]).await;
                program.receive_array(16).await;
            }
            Request::WaitAndStop => {
                program.send(0x13, &[], &[]).await;
                if minor == 6 {
                    assert_eq!(program.array_size().await, 64_u32.to_ne_bytes());
                    program.send(0x17, &[], &[]).await;
                    program.receive_array(64).await;
                } else {
                    program.receive_array(16).await;
                }
                // Either the answer, or the signal of a change that came before.
                program.send(0x14, &[], &[]).await;
                program.receive_notice().await;
            }
            Request::Events => {
                program.send(0x15, &[], &[]).await;
                program.receive(8).await;
            }
            Request::Cancel(index) => {
                let context = common.contexts.borrow().get(index).copied().unwrap_or_default();
                let code = program.code(0x0D, &[context, 0]).await;
                assert!(code == Code::SUCCESS || code == Code::INVALID_HANDLE && context != program.context, "{code}");
            }
            Request::Release => {
                assert_eq!(program.code(0x02, &[program.context, 0]).await, Code::SUCCESS);
                handles.clear();
                program.establish(minor).await;
                common.contexts.borrow_mut().push(program.context);
            }
            Request::Foreign(call, index) => {
                let handle = foreign(&common.handles, &handles, index);
                program.send(call, &[handle, 0].map(u32::to_ne_bytes).concat(), &[]).await;
                return assert!(program.is_closed().await);
            }
            Request::ForeignRelease(index) => {
                let context = foreign(&common.contexts, &[program.context], index);
                program.send(0x02, &[context, 0].map(u32::to_ne_bytes).concat(), &[]).await;
                return assert!(program.is_closed().await);
            }
            Request::Pull => common.readers.remove(0),
            Request::Insert => common.readers.insert(0, CardOptions::default()),
        }
    }
    assert_eq!(program.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "the stream is in step");
    program.send(u32::MAX, &last, &[]).await;
    assert!(program.is_closed().await);
}

fn isolations() -> impl Strategy<Value = Isolation> {
    prop_oneof![Just(Isolation::Process), Just(Isolation::User)]
}

#[test]
fn random_conversations_of_one_process_stay_in_step() {
    stay_in_step(1);
}

#[test]
fn random_conversations_of_two_processes_stay_in_step() {
    stay_in_step(2);
}

/// Two programs at the same time, the second one in the process with this number; the first one is in process 1.
fn stay_in_step(second_pid: u32) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(PcscliteConfig::default()));
    let world = RefCell::new(world);
    let talks = || (4..=6_u32, vec(requests(), 0..=16), vec(any::<u8>(), 0..20));
    let settings = (prop_oneof![Just(Exclusive::Virtual), Just(Exclusive::Strict)], isolations());
    holds(conversations() / 2, (talks(), talks(), settings), |(first, second, (exclusive, isolation))| {
        let world = &mut *world.borrow_mut();
        let mut config = Config::default();
        (config.pcsclite.exclusive, config.pcsclite.isolation) = (exclusive, isolation);
        runtime.block_on(async {
            world.open_door_with(DoorSettings::new(&config));
            let mut requests = first.1.iter().chain(&second.1);
            let is_moved = requests.any(|request| matches!(request, Request::Pull | Request::Insert));
            let readers = world.readers.clone();
            let common = Common { readers, handles: RefCell::default(), contexts: RefCell::default() };
            let [one, two] = [world.program(1, first.0).await, world.program(second_pid, second.0).await];
            tokio::join!(talk(one, first, &common), talk(two, second, &common));
            if is_moved {
                world.readers.insert(0, CardOptions::default());
                world.becomes_ready().await;
            }
        });
        Ok(())
    });
    runtime.block_on(world.into_inner().stop());
}
