//! Tests of the backend's contract on the simulated readers.

use std::thread;

use cardbroker_core::{
    apdu::ApduBytes,
    error::Delivery,
    simulated_card::{PAUSE, Step, StepContent},
    slot::{CardCommand, CardInfo, ProtocolChoice, ResetKind, SlotError},
};

use super::*;

const LONG: Duration = Duration::from_secs(30);
const SELECT: [u8; 11] = [0x00, 0xA4, 0x04, 0x00, 6, 0xF0, b'C', b'A', b'R', b'D', 1];

fn fault(kind: u8, a: u16, b: u16) -> Vec<u8> {
    [&[0x80, 0xF0, kind, 0x00, 4][..], &a.to_be_bytes(), &b.to_be_bytes()].concat()
}

fn exchange(slot: &mut Box<dyn Slot>, command: &[u8]) -> Result<ApduBytes, SlotError> {
    slot.exchange(CardCommand::unadmitted(command))
}

fn taken(simulated: &Simulated, index: usize) -> Box<dyn Slot> {
    let mut slot = simulated.slot(&reader_name(index).into());
    slot.take(ProtocolChoice::Any).unwrap();
    slot
}

#[test]
fn the_last_of_several_readers_has_a_t0_card() {
    let simulated = Simulated::new(3);
    let mut infos: Vec<CardInfo> = Vec::new();
    for status in simulated.monitor().wait(LONG).unwrap() {
        assert!(status.card_present);
        let info = simulated.slot(&status.name).take(ProtocolChoice::Any).unwrap();
        assert_eq!(info.atr, status.atr);
        infos.push(info);
    }
    assert_eq!([&infos[0], &infos[1], &infos[2]].map(|info| info.protocol), [Protocol::T1, Protocol::T1, Protocol::T0]);
    assert_ne!(infos[0].atr, infos[1].atr);
    assert_eq!(
        simulated.slot(&"Simulated Reader 02".into()).take(ProtocolChoice::T1),
        Err(SlotError::ProtocolMismatch)
    );
    assert_eq!(simulated.slot(&"Simulated Reader 03".into()).take(ProtocolChoice::Any), Err(SlotError::ReaderGone));
}

#[test]
fn a_woken_monitor_returns_without_a_change() {
    let simulated = Simulated::new(1);
    let mut monitor = simulated.monitor();
    let first = monitor.wait(LONG).unwrap();
    let start = Instant::now();
    simulated.wake_monitor();
    assert_eq!(monitor.wait(LONG).unwrap(), first);
    assert!(start.elapsed() < LONG);
}

#[test]
fn the_monitor_wakes_at_once_on_insertion_and_removal() {
    let simulated = Simulated::new(1);
    let mut monitor = simulated.monitor();
    let first = monitor.wait(LONG).unwrap();
    let other = simulated.clone();
    let start = Instant::now();
    let hand = thread::spawn(move || other.remove(0));
    let second = monitor.wait(LONG).unwrap();
    hand.join().unwrap();
    assert!(!second[0].card_present && second[0].atr.is_empty());
    assert_ne!(first[0].event_count, second[0].event_count);
    simulated.insert(0, CardOptions::default());
    assert!(monitor.wait(LONG).unwrap()[0].card_present);
    assert!(start.elapsed() < LONG);
    assert!(monitor.wait(Duration::ZERO).unwrap()[0].card_present);
}

#[test]
fn a_handle_is_dead_after_a_swap_until_taken_again() {
    let simulated = Simulated::new(1);
    let mut slot = taken(&simulated, 0);
    simulated.insert(0, CardOptions::default());
    assert_eq!(exchange(&mut slot, &SELECT), Err(SlotError::CardRemoved));
    assert_eq!(slot.reset(ResetKind::Warm, ProtocolChoice::Any), Err(SlotError::CardRemoved));
    assert!(slot.wait_removal(LONG));
    slot.take(ProtocolChoice::Any).unwrap();
    assert_eq!(exchange(&mut slot, &SELECT).unwrap()[..], [0x61, 0x13]);
    simulated.remove(0);
    assert_eq!(slot.take(ProtocolChoice::Any), Err(SlotError::NoCard));
}

#[test]
fn a_removal_during_a_command_is_an_unknown_delivery() {
    let simulated = Simulated::new(1);
    let mut monitor = simulated.monitor();
    monitor.wait(LONG).unwrap();
    let mut slot = taken(&simulated, 0);
    assert_eq!(exchange(&mut slot, &fault(1, 20, 30)).unwrap_err().delivery(), Delivery::Unknown);
    assert!(slot.wait_removal(Duration::ZERO));
    assert!(!monitor.wait(LONG).unwrap()[0].card_present);
    assert!(monitor.wait(LONG).unwrap()[0].card_present);
    slot.take(ProtocolChoice::Any).unwrap();
}

#[test]
fn a_card_that_leaves_during_its_work_ends_the_exchange() {
    let simulated = Simulated::new(1);
    let mut slot = taken(&simulated, 0);
    exchange(&mut slot, &fault(2, 20, 0xFFFF)).unwrap();
    let start = Instant::now();
    let minute = [0x80, 0x16, 0, 0, 2, 0xEA, 0x60];
    assert!(matches!(exchange(&mut slot, &minute), Err(SlotError::Lost(_))));
    assert!(start.elapsed() < LONG);
    assert_eq!(slot.take(ProtocolChoice::Any), Err(SlotError::NoCard));
}

#[test]
fn a_card_swapped_after_its_response_is_another_card() {
    let simulated = Simulated::new(1);
    let mut monitor = simulated.monitor();
    let before = monitor.wait(LONG).unwrap();
    let mut slot = taken(&simulated, 0);
    assert_eq!(exchange(&mut slot, &fault(3, 0, 0)).unwrap()[..], [0x90, 0x00]);
    let after = monitor.wait(LONG).unwrap();
    assert!(after[0].card_present);
    assert_eq!(after[0].event_count, before[0].event_count + 2);
    assert_ne!(after[0].atr, before[0].atr);
    assert_eq!(exchange(&mut slot, &SELECT), Err(SlotError::CardRemoved));
}

#[test]
fn a_mute_card_answers_after_the_requested_resets() {
    let simulated = Simulated::new(1);
    let mut slot = taken(&simulated, 0);
    exchange(&mut slot, &fault(4, 2, 0)).unwrap();
    let mut reset = || slot.reset(ResetKind::Cold, ProtocolChoice::Any);
    assert!(matches!((reset(), reset()), (Err(SlotError::Mute(_)), Err(SlotError::Mute(_)))));
    assert!(reset().is_ok());
}

#[test]
fn broken_exchanges_are_lost_and_the_card_stays() {
    let simulated = Simulated::new(1);
    for (kind, time) in [(5, 10), (6, 0), (7, 0)] {
        let mut slot = taken(&simulated, 0);
        assert!(matches!(exchange(&mut slot, &fault(kind, time, 0)), Err(SlotError::Lost(_))));
        assert!(!slot.wait_removal(Duration::ZERO));
    }
}

#[test]
fn a_released_card_keeps_no_pin() {
    let simulated = Simulated::new(1);
    let mut slot = taken(&simulated, 0);
    exchange(&mut slot, b"\x00\x20\x00\x80\x0812345678").unwrap();
    slot.release();
    assert_eq!(exchange(&mut slot, &SELECT), Err(SlotError::StaleHandle));
    assert!(!simulated.0.lock()[0].card().unwrap().powered());
}

/// Two cards of one reader, with SELECT and READ RECORD as their commands, and a reader without a card.
fn replaying() -> Simulated {
    let whole = |line, command: &[u8]| Step {
        line,
        content: StepContent::Whole { command: command.into(), response: Some([0x90, 0x00].into()) },
    };
    let card = |serial: u8, is_removed| RecordedCard {
        atr: vec![0x3B, serial],
        protocol: Protocol::T0,
        steps: vec![whole(1, &SELECT), whole(2, &RECORD)],
        is_removed,
    };
    Simulated::of_recorded([("desk".into(), vec![card(1, true), card(2, false)]), ("shelf".into(), Vec::new())])
}

const RECORD: [u8; 5] = [0x00, 0xB2, 0x01, 0x04, 0x10];

#[test]
fn a_recorded_removal_makes_room_for_the_next_card() {
    let simulated = replaying();
    let mut monitor = simulated.monitor();
    let first = monitor.wait(LONG).unwrap();
    let told: Vec<_> = first.iter().map(|status| (status.name.shown(), status.card_present)).collect();
    assert_eq!(told, [("desk", true), ("shelf", false)]);
    let mut slot = simulated.slot(&"desk".into());
    assert_eq!(slot.take(ProtocolChoice::T1), Err(SlotError::ProtocolMismatch));
    let info = CardInfo { atr: vec![0x3B, 1], protocol: Protocol::T0 };
    assert_eq!(slot.take(ProtocolChoice::Any).unwrap(), info);
    let start = Instant::now();
    assert_eq!(exchange(&mut slot, &SELECT).unwrap()[..], [0x90, 0x00]);
    slot.reset(ResetKind::Cold, ProtocolChoice::Any).unwrap();
    assert_eq!(exchange(&mut slot, &RECORD).unwrap()[..], [0x90, 0x00]);
    assert!(!monitor.wait(LONG).unwrap()[0].card_present && start.elapsed() >= PAUSE);
    assert_eq!(monitor.wait(LONG).unwrap()[0].atr, [0x3B, 2]);
    assert!(start.elapsed() >= 2 * PAUSE);
    slot.take(ProtocolChoice::Any).unwrap();
    assert_eq!(exchange(&mut slot, &SELECT).unwrap()[..], [0x90, 0x00]);
    assert!(!slot.wait_removal(3 * PAUSE), "the last card stays");
}

#[test]
fn a_different_command_removes_the_card_for_good() {
    let simulated = replaying();
    let mut monitor = simulated.monitor();
    monitor.wait(LONG).unwrap();
    let mut slot = simulated.slot(&"desk".into());
    slot.take(ProtocolChoice::Any).unwrap();
    assert_eq!(exchange(&mut slot, &RECORD).unwrap_err().delivery(), Delivery::Unknown);
    assert!(slot.wait_removal(Duration::ZERO) && !monitor.wait(LONG).unwrap()[0].card_present);
    assert!(!monitor.wait(3 * PAUSE).unwrap()[0].card_present, "no other card comes");
    assert_eq!(slot.take(ProtocolChoice::Any), Err(SlotError::NoCard));
}
