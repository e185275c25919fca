//! The calls of PC/SC, each by programs alone and beside others.

use std::time::{Duration, Instant};

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::World,
    terms::{DIRECT, EXCLUSIVE, READ, READER, SELECT, SHARED, TRIES, VERIFY},
};
use crate::{
    config::{Exclusive, Isolation, PcscliteConfig},
    pcsclite::cards::EPOCH,
};

const COUNT: &[u8] = &[0x80, 0x10, 0x00, 0x00, 0x04];

#[tokio::test]
async fn a_program_connects_and_sends_commands() {
    let mut world = World::usual().await;
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
    assert_eq!(program.disconnect(handle, 1).await, Code::SUCCESS);
    assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    assert_eq!(program.connect(READER, 9).await, Err(Code::INVALID_VALUE));
    world.stop().await;
}

#[tokio::test]
async fn readers_and_attributes_are_those_of_the_broker() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 6).await;
    assert_eq!(program.array_size().await, 64_u32.to_ne_bytes());
    program.send(0x17, &[], &[]).await;
    let array = program.receive_array(64).await;
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
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
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
    let mut world = World::usual().await;
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
        let [(mut first, one), (mut second, two)] = world.programs().await;
        assert_eq!(first.transmit(one, VERIFY).await.unwrap(), [0x90, 0]);
        assert_eq!(second.transmit(two, TRIES).await.unwrap(), inherited, "{isolation:?}");
        let told = if isolation == Isolation::Process { Err(Code::RESET_CARD) } else { Ok(vec![0x90, 0]) };
        assert_eq!(first.transmit(one, TRIES).await, told);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_program_that_never_fetches_its_answers_hands_over() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
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
async fn a_failed_reconnect_leaves_the_share_mode() {
    let mut world = World::usual().await;
    let [(mut first, one), (mut rival, two)] = world.programs().await;
    assert_eq!(rival.begin(two).await, Code::SUCCESS);
    assert_eq!(first.code(0x05, &[one, EXCLUSIVE, 3, 0, 0, 0]).await, Code::SHARING_VIOLATION);
    let mut sibling = world.program(1, 4).await;
    assert!(sibling.connect(READER, SHARED).await.is_ok(), "the first is still a shared handle");
    world.stop().await;
}

#[tokio::test]
async fn a_pin_that_the_card_has_rejected_is_answered_like_a_wrong_one() {
    let mut world = World::usual().await;
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READER, SHARED).await.unwrap();
    let wrong = b"\x00\x20\x00\x80\x0887654321";
    assert_eq!(program.transmit(handle, wrong).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(program.transmit(handle, wrong).await.unwrap(), [0x63, 0xC2], "it did not reach the card");
    assert_eq!(program.transmit(handle, TRIES).await.unwrap(), [0x63, 0xC2]);
    world.stop().await;
}

#[tokio::test]
async fn an_exclusive_program_keeps_its_turn_or_excludes_others() {
    let mut world = World::usual().await;
    let (mut first, mut second) = (world.program(1, 4).await, world.program(2, 4).await);
    let (one, _) = first.connect(READER, EXCLUSIVE).await.unwrap();
    let (two, _) = second.connect(READER, SHARED).await.unwrap();
    assert_eq!(second.begin(two).await, Code::SHARING_VIOLATION);
    assert_eq!(first.disconnect(one, 0).await, Code::SUCCESS);
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
    let mut world = World::usual().await;
    let [(mut first, one), (mut second, two)] = world.programs().await;
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    first.transmit(one, VERIFY).await.unwrap();
    drop(first);
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x63, 0xC3]);
    world.stop().await;
}
