//! The calls of PC/SC, each by programs alone and beside others.

use std::time::{Duration, Instant};

use cardbroker_core::{budget, pcsclite::code::Code};

use super::program::{Program, USER, World};
use crate::{
    config::{Exclusive, Isolation, PcscliteConfig},
    pcsclite::cards::EPOCH,
};

const READER: &str = "Simulated Reader 00";
const SHARED: u32 = 2;
const EXCLUSIVE: u32 = 1;
const DIRECT: u32 = 3;
const SELECT: &[u8] = b"\x00\xA4\x04\x00\x06\xF0CARD\x01";
const VERIFY: &[u8] = b"\x00\x20\x00\x80\x0812345678";
const IS_VERIFIED: &[u8] = &[0x00, 0x20, 0x00, 0x80];
const COUNT: &[u8] = &[0x80, 0x10, 0x00, 0x00, 0x04];
const READ: &[u8] = &[0x00, 0xB0, 0x00, 0x00, 0x02];

async fn world() -> World {
    World::new(PcscliteConfig::default()).await
}

async fn pair(world: &mut World) -> [(Program, u32); 2] {
    let mut programs = Vec::new();
    for pid in [1, 2] {
        let mut program = world.program(pid, 4).await;
        let (handle, _) = program.connect(READER, SHARED).await.unwrap();
        programs.push((program, handle));
    }
    programs.try_into().unwrap_or_else(|_| panic!())
}

#[tokio::test]
async fn a_program_connects_and_sends_commands() {
    let mut world = world().await;
    let mut program = world.program(1, 4).await;
    let (handle, protocol) = program.connect(READER, SHARED).await.unwrap();
    assert_eq!(protocol, 2);
    assert_eq!(program.status(handle).await, Code::SUCCESS);
    assert_eq!(program.begin(handle).await, Code::SUCCESS);
    assert_eq!(program.transmit(handle, SELECT).await.unwrap(), [0x61, 0x13]);
    assert_eq!(program.transmit(handle, &[0, 0xC0, 0, 0, 0x13]).await.unwrap().len(), 21);
    assert_eq!(program.transmit_into(handle, READ, 3).await, Err(Code::INSUFFICIENT_BUFFER));
    assert_eq!(program.transmit_into(handle, READ, 1).await, Err(Code::INSUFFICIENT_BUFFER));
    assert_eq!(program.transmit(handle, READ).await.unwrap(), [0, 1, 0x90, 0], "the stream is in step");
    assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    assert_eq!(program.end(handle, 0).await, Code::NOT_TRANSACTED);
    assert_eq!(program.code(0x06, &[handle, 1, 0]).await, Code::SUCCESS);
    assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    assert_eq!(program.connect(READER, 9).await, Err(Code::INVALID_VALUE));
    world.stop().await;
}

#[tokio::test]
async fn readers_and_attributes_are_those_of_the_broker() {
    let mut world = world().await;
    let mut program = world.program(1, 6).await;
    program.send(0x16, &[], &[]).await;
    assert_eq!(program.receive(4).await, 64_u32.to_ne_bytes());
    program.send(0x17, &[], &[]).await;
    let array = program.receive(64 * 184).await;
    assert_eq!((&array[..19], &array[184..203]), (READER.as_bytes(), &b"Simulated Reader 01"[..]));
    let (handle, protocol) = program.connect(READER, DIRECT).await.unwrap();
    assert_eq!(protocol, 0);
    for (attribute, starts) in
        [(EPOCH, &b"epoch\0"[..]), (0x7FFF_0003, b"Simulated Reader 00\0"), (0x0009_0303, b"\x3B")]
    {
        let mut body = [handle, attribute].map(u32::to_ne_bytes).concat();
        body.resize(272, 0);
        body.extend([264_u32, 0].map(u32::to_ne_bytes).concat());
        program.send(0x0F, &body, &[]).await;
        let answer = program.receive(280).await;
        assert!(answer[8..].starts_with(starts) && answer.ends_with(&[0; 4]), "{attribute:x}");
    }
    let control = [handle, 0x4233_0D48, 0, 264, 0, 0];
    assert_eq!(program.code(0x0A, &control).await, Code::UNSUPPORTED_FEATURE);
    world.stop().await;
}

#[tokio::test]
async fn a_transaction_keeps_others_out_and_hands_over_at_its_end() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.transmit(one, COUNT).await.unwrap();
    assert_eq!(second.status(two).await, Code::SUCCESS, "a question for the state is answered at once");
    let asked = Instant::now();
    assert_eq!(second.begin(two).await, Code::SHARING_VIOLATION);
    assert!(asked.elapsed() >= Duration::from_millis(900), "it is held for a second");
    let waiting = tokio::spawn(async move {
        let code = second.begin(two).await;
        (second, code, Instant::now())
    });
    tokio::task::yield_now().await;
    let ended = Instant::now();
    assert_eq!(first.end(one, 0).await, Code::SUCCESS);
    let (mut second, code, begun) = waiting.await.unwrap();
    assert_eq!(code, Code::SUCCESS);
    assert!(begun - ended < Duration::from_millis(500), "{:?}", begun - ended);
    assert_eq!(second.end(two, 0).await, Code::SUCCESS);
    world.stop().await;
}

#[tokio::test]
async fn programs_that_never_pause_take_turns() {
    let mut world = world().await;
    let mut busy = Vec::new();
    for pid in 1..=4 {
        let mut program = world.program(pid, 4).await;
        busy.push(tokio::spawn(async move {
            let (handle, _) = program.connect(READER, SHARED).await.unwrap();
            let (mut turns, end) = (0_u32, Instant::now() + Duration::from_millis(500));
            while Instant::now() < end {
                assert_eq!(program.begin(handle).await, Code::SUCCESS);
                program.transmit(handle, READ).await.unwrap();
                assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
                turns += 1;
            }
            turns
        }));
    }
    let mut turns = Vec::new();
    for program in busy {
        turns.push(program.await.unwrap());
    }
    // A program that is not back yet when the card is free does not wait, so equal numbers are not to be had.
    let [fewest, most] = [turns.iter().min().unwrap(), turns.iter().max().unwrap()];
    assert!(2 * fewest > *most, "{turns:?}");
    world.stop().await;
}

#[tokio::test]
async fn another_program_does_not_inherit_a_verified_pin() {
    for (isolation, inherited) in [(Isolation::Process, [0x63, 0xC3]), (Isolation::User, [0x90, 0x00])] {
        let mut world = World::new(PcscliteConfig { isolation, ..PcscliteConfig::default() }).await;
        let [(mut first, one), (mut second, two)] = pair(&mut world).await;
        assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
        assert_eq!(second.transmit(two, IS_VERIFIED).await.unwrap(), inherited, "{isolation:?}");
        let told = if isolation == Isolation::Process { Err(Code::RESET_CARD) } else { Ok(vec![0x90, 0]) };
        assert_eq!(first.transmit(one, IS_VERIFIED).await, told);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_private_door_is_one_group_of_one_user() {
    let mut world = world().await;
    let (door, _) = world.private_door();
    let (mut answers, mut members) = (Vec::new(), Vec::new());
    for (pid, command) in [(1, VERIFY), (2, IS_VERIFIED)] {
        let mut program = world.connect_at(pid, USER, &door);
        program.establish(5).await;
        let (handle, _) = program.connect(READER, SHARED).await.unwrap();
        answers.push(program.transmit(handle, command).await.unwrap());
        // The group ends with the last of its connections.
        members.push(program);
    }
    assert_eq!(answers, [[0x90, 0], [0x90, 0]]);
    let mut outside = world.program(3, 4).await;
    let (handle, _) = outside.connect(READER, SHARED).await.unwrap();
    assert_eq!(outside.transmit(handle, IS_VERIFIED).await.unwrap(), [0x63, 0xC3]);
    assert!(world.connect_at(4, USER + 1, &door).is_closed().await, "another user");
    world.stop().await;
}

#[tokio::test]
async fn a_private_door_that_closes_ends_its_connections_and_its_group() {
    let mut world = world().await;
    let (door, closing) = world.private_door();
    let mut inside = world.connect_at(1, USER, &door);
    inside.establish(5).await;
    let (handle, _) = inside.connect(READER, SHARED).await.unwrap();
    assert_eq!(inside.begin(handle).await, Code::SUCCESS);
    assert_eq!(inside.transmit(handle, VERIFY).await.unwrap(), [0x90, 0]);
    let mut outside = world.program(2, 4).await;
    closing.cancel();
    assert!(inside.is_closed().await);
    let (handle, _) = outside.connect(READER, SHARED).await.unwrap();
    assert_eq!(outside.transmit(handle, IS_VERIFIED).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn after_a_reset_every_user_of_the_card_gets_the_news() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, COUNT).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(second.end(two, 1).await, Code::SUCCESS);
    assert_eq!(second.status(two).await, Code::RESET_CARD, "the one that has reset it, too");
    assert_eq!([first.status(one).await, first.begin(one).await], [Code::RESET_CARD; 2]);
    assert_eq!(third.status(three).await, Code::SUCCESS, "it has sent nothing");
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.reconnect(one, 1).await, Code::SUCCESS, "its own reset is no news");
    assert_eq!(first.end(one, 0).await, Code::SUCCESS, "transactions survive it");
    world.stop().await;
}

#[tokio::test]
async fn a_handle_that_sleeps_learns_of_resets_by_its_status() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    first.transmit(one, READ).await.unwrap();
    second.transmit(two, VERIFY).await.unwrap();
    assert_eq!(first.status(one).await, Code::SUCCESS);
    // The broker itself resets the card that the program has left with a verified PIN.
    drop(second);
    let asked = Instant::now();
    while first.status(one).await != Code::RESET_CARD {
        assert!(asked.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!([first.status(one).await, first.begin(one).await], [Code::SUCCESS; 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_is_refused_again_and_again_is_read_slowly() {
    let mut world = world().await;
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
    let mut world = world().await;
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
async fn a_foreign_selection_is_news_like_a_reset() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.transmit(two, SELECT).await.unwrap(), [0x61, 0x13]);
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.end(one, 0).await;
    world.stop().await;
}

#[tokio::test]
async fn a_missed_turn_does_not_hide_a_foreign_selection() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "it keeps its place");
    second.transmit(two, SELECT).await.unwrap();
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    second.end(two, 0).await;
    // The third has its turn after the first has missed its own.
    while third.begin(three).await == Code::SHARING_VIOLATION {}
    third.end(three, 0).await;
    assert_eq!(first.transmit(one, READ).await, Err(Code::RESET_CARD));
    world.stop().await;
}

#[tokio::test]
async fn a_refused_command_is_no_use_of_the_card() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    let wrong = b"\x00\x20\x00\x80\x0887654321";
    assert_eq!(first.transmit(one, wrong).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(second.transmit(two, wrong).await.unwrap(), [0x63, 0xC2], "it did not reach the card");
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(first.end(one, 1).await, Code::SUCCESS);
    assert_eq!(second.status(two).await, Code::SUCCESS, "it has sent nothing");
    world.stop().await;
}

#[tokio::test]
async fn the_turn_with_bad_news_is_kept_for_the_reconnect() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    let mut third = world.program(3, 4).await;
    let (three, _) = third.connect(READER, SHARED).await.unwrap();
    first.transmit(one, READ).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    second.transmit(two, SELECT).await.unwrap();
    second.transmit(two, &[0, 0xC0, 0, 0, 0x13]).await.unwrap();
    assert_eq!(first.begin(one).await, Code::SHARING_VIOLATION, "it keeps its place");
    let waiting = tokio::spawn(async move {
        while third.begin(three).await == Code::SHARING_VIOLATION {}
        third
    });
    let granted = tokio::spawn(async move {
        let code = first.begin(one).await;
        (first, code)
    });
    tokio::task::yield_now().await;
    second.end(two, 0).await;
    let (mut first, code) = granted.await.unwrap();
    assert_eq!(code, Code::RESET_CARD);
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    assert_eq!(first.begin(one).await, Code::SUCCESS, "in the same turn, before the third");
    first.end(one, 0).await;
    waiting.await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_never_fetches_its_answers_hands_over() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    first.transmit(one, SELECT).await.unwrap();
    let asked = Instant::now();
    let waiting = tokio::spawn(async move {
        while second.begin(two).await == Code::SHARING_VIOLATION {}
        assert_eq!(second.end(two, 0).await, Code::SUCCESS);
    });
    while !waiting.is_finished() {
        assert!(asked.elapsed() < Duration::from_secs(5), "the other program still waits");
        // The answer 61xx is left, and the command is sent again.
        match first.transmit(one, SELECT).await {
            Ok(_) | Err(Code::SHARING_VIOLATION) => {}
            Err(code) => {
                // The card was reset, because the answer was not for others.
                assert_eq!((code, first.reconnect(one, 0).await), (Code::RESET_CARD, Code::SUCCESS));
            }
        }
    }
    waiting.await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn other_requests_are_refused_at_once_by_the_own_transaction() {
    let mut world = world().await;
    let mut first = world.program(1, 4).await;
    let mut second = world.program(1, 4).await;
    let (one, _) = first.connect(READER, SHARED).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    second.transmit(two, READ).await.unwrap();
    while first.begin(one).await == Code::SHARING_VIOLATION {}
    let asked = Instant::now();
    assert_eq!(second.reconnect(two, 1).await, Code::SHARING_VIOLATION);
    assert_eq!(second.transmit(two, READ).await, Err(Code::SHARING_VIOLATION));
    assert_eq!(second.code(0x06, &[two, 1, 0]).await, Code::SUCCESS);
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
    let mut world = world().await;
    let [(first, one), (mut rival, two)] = pair(&mut world).await;
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
async fn a_failed_reconnect_leaves_the_share_mode() {
    let mut world = world().await;
    let [(mut first, one), (mut rival, two)] = pair(&mut world).await;
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    assert_eq!(first.code(0x05, &[one, EXCLUSIVE, 3, 0, 0, 0]).await, Code::SHARING_VIOLATION);
    let mut sibling = world.program(1, 4).await;
    assert!(sibling.connect(READER, SHARED).await.is_ok(), "the first is still a shared handle");
    world.stop().await;
}

#[tokio::test]
async fn the_counter_of_readers_is_the_same_in_each_context() {
    let mut world = world().await;
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
async fn a_pin_that_the_card_has_rejected_is_answered_like_a_wrong_one() {
    let mut world = world().await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, SHARED).await.unwrap();
    let wrong = b"\x00\x20\x00\x80\x0887654321";
    assert_eq!(program.transmit(handle, wrong).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(program.transmit(handle, wrong).await.unwrap(), [0x63, 0xC2], "it did not reach the card");
    assert_eq!(program.transmit(handle, IS_VERIFIED).await.unwrap(), [0x63, 0xC2]);
    world.stop().await;
}

#[tokio::test]
async fn a_process_is_refused_at_once_by_its_own_transaction() {
    let mut world = world().await;
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

#[tokio::test]
async fn an_exclusive_program_keeps_its_turn_or_excludes_others() {
    let mut world = world().await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, EXCLUSIVE).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SHARING_VIOLATION);
    assert_eq!(first.code(0x06, &[one, 0, 0]).await, Code::SUCCESS);
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    world.stop().await;
    let mut world = World::new(PcscliteConfig { exclusive: Exclusive::Strict, ..PcscliteConfig::default() }).await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    first.connect(READER, EXCLUSIVE).await.unwrap();
    assert_eq!(second.connect(READER, SHARED).await, Err(Code::SHARING_VIOLATION));
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_ends_in_a_transaction_frees_the_card() {
    let mut world = world().await;
    let [(mut first, one), (mut second, two)] = pair(&mut world).await;
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.transmit(one, VERIFY).await.unwrap();
    drop(first);
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(second.transmit(two, IS_VERIFIED).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}

#[tokio::test]
async fn a_wait_ends_by_a_change_by_stop_or_by_cancel() {
    let mut world = world().await;
    for minor in [4, 6] {
        let (mut waiter, mut other) = (world.program(1, minor).await, world.program(1, minor).await);
        let wait = async |waiter: &mut Program| {
            waiter.send(0x13, &[], &[]).await;
            match minor {
                4 => drop(waiter.receive(16 * 184).await),
                _ => {
                    waiter.send(0x16, &[], &[]).await;
                    waiter.receive(4).await;
                    waiter.send(0x17, &[], &[]).await;
                    waiter.receive(64 * 184).await;
                }
            }
        };
        wait(&mut waiter).await;
        waiter.send(0x14, &[], &[]).await;
        assert_eq!(waiter.receive(8).await, [0; 8], "stopped");
        wait(&mut waiter).await;
        let mut canceller = world.connect(1);
        assert_eq!(canceller.code(0x0D, &[waiter.context, 0]).await, Code::SUCCESS);
        assert_eq!(waiter.receive(8).await[4..], Code::CANCELLED.0.to_ne_bytes());
        let mut stranger = world.connect(2);
        assert_eq!(stranger.code(0x0D, &[waiter.context, 0]).await, Code::INVALID_HANDLE);
        wait(&mut waiter).await;
        other.connect(READER, SHARED).await.unwrap();
        assert_eq!(waiter.receive(8).await, [0; 8], "the process has another handle");
        waiter.send(0x14, &[], &[]).await;
        assert_eq!(waiter.call(0x11, &[4, minor, 0]).await, [4, minor, 0], "no second message");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_cancel_without_a_wait_does_not_end_the_next_one() {
    let mut world = world().await;
    let [(mut waiter, one), (mut rival, two)] = pair(&mut world).await;
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
    waiter.receive(16 * 184).await;
    assert_eq!(rival.status(two).await, Code::SUCCESS);
    waiter.send(0x14, &[], &[]).await;
    assert_eq!(waiter.receive(8).await, [0; 8], "stopped, not cancelled");
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_names_anothers_handle_is_closed() {
    let mut world = world().await;
    let [(mut first, one), (mut second, _)] = pair(&mut world).await;
    second.send(0x0B, &[one, 0].map(u32::to_ne_bytes).concat(), &[]).await;
    assert!(second.is_closed().await);
    assert_eq!(first.status(one).await, Code::SUCCESS);
    first.send(0x03, &[], &[]).await;
    assert!(first.is_closed().await, "unknown command");
    world.stop().await;
}

#[tokio::test]
async fn too_many_contexts_of_one_user_find_no_memory() {
    let mut world = world().await;
    let mut programs = Vec::new();
    for _ in 0..128 {
        programs.push(world.program(1, 4).await);
    }
    let mut program = world.connect(1);
    program.call(0x11, &[4, 4, 0]).await;
    assert_eq!(program.code(0x01, &[2, 0, 0]).await, Code::NO_MEMORY);
    drop(programs);
    while program.code(0x01, &[2, 0, 0]).await != Code::SUCCESS {}
    world.stop().await;
}
