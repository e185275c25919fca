//! Stories of a reader's life, told to the machine with made-up times.

mod properties;

use super::*;
use crate::core::{
    error::{Delivery, Reason},
    slot::{Protocol, ServiceError},
};

fn at(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

fn life(own: Own) -> (Life, Instant) {
    let now = Instant::now();
    (Life::new(own, Duration::from_secs(5), ProtocolChoice::T1, "x".into(), now), now)
}

fn seen(card_present: bool, event_count: u32) -> SlotStatus {
    SlotStatus {
        display_name: "R".into(),
        card_present,
        event_count,
        atr: if card_present { vec![0x3B] } else { vec![] },
    }
}

fn card() -> CardInfo {
    CardInfo { atr: vec![0x3B, 0x00], protocol: Protocol::T1 }
}

fn state(life: &Life) -> State {
    life.status().state
}

/// Takes the card, as the actor does.
fn take(life: &mut Life, taken: Result<CardInfo, SlotError>, now: Instant) -> Option<Failure> {
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    life.took(taken, now)
}

/// A reader with a card that was taken.
fn ready() -> (Life, Instant) {
    let (mut life, now) = life(Own::Always);
    life.seen(seen(true, 1), now);
    assert_eq!(life.next_action(now, false), Some(Action::Take));
    assert_eq!(life.took(Ok(card()), now), None);
    assert_eq!(state(&life), State::Ready);
    (life, now)
}

#[test]
fn an_empty_reader_takes_the_card_that_comes() {
    let (mut life, now) = life(Own::Always);
    assert_eq!((state(&life), life.next_action(now, false)), (State::Unavailable, None));
    life.seen(seen(false, 0), now);
    assert_eq!((state(&life), life.next_action(now, false), life.deadline()), (State::Empty, None, None));

    life.seen(seen(true, 1), now);
    assert_eq!((state(&life), life.next_action(now, false)), (State::Settling, Some(Action::Take)));
    life.took(Ok(card()), now);
    assert_eq!((state(&life), life.status().insertion_count), (State::Ready, 1));
    assert_eq!((life.next_action(now, false), life.next_action(now, true)), (None, Some(Action::Serve)));
}

#[test]
fn a_rival_is_outwaited_with_growing_pauses_and_shown_after_two_seconds() {
    let (mut life, start) = life(Own::Always);
    life.seen(seen(true, 1), start);
    let mut now = start;
    let mut pauses = Vec::new();
    while state(&life) == State::Settling {
        assert_eq!(life.next_action(now, false), Some(Action::Take));
        life.took(Err(SlotError::Held), now);
        assert_eq!(life.next_action(now, false), None);
        let retry = life.deadline().unwrap();
        pauses.push((retry - now).as_millis());
        now = retry;
    }
    assert_eq!(pauses[..6], [10, 20, 40, 80, 160, 200]);
    assert_eq!(state(&life), State::HeldElsewhere);
    assert!(now - start < Duration::from_millis(2800), "{:?}", now - start);
    assert_eq!(life.next_action(now, false), Some(Action::Take));
    life.took(Ok(card()), now);
    assert_eq!((state(&life), life.status().insertion_count), (State::Ready, 1));
}

#[test]
fn an_event_shortens_the_pause() {
    let (mut life, now) = life(Own::Always);
    life.seen(seen(true, 1), now);
    life.took(Err(SlotError::Held), now);
    life.took(Err(SlotError::Held), now);
    assert_eq!(life.next_action(now, false), None);
    life.seen(SlotStatus { atr: vec![1, 2, 3], ..seen(true, 1) }, now);
    assert_eq!(life.next_action(now, false), Some(Action::Take));
}

#[test]
fn a_silent_card_gets_three_cold_resets() {
    let (mut life, start) = life(Own::Always);
    life.seen(seen(true, 1), start);
    let mut actions = Vec::new();
    let mut now = start;
    while state(&life) == State::Settling {
        actions.push(life.next_action(now, false).unwrap());
        life.took(Err(SlotError::Mute("no ATR".into())), now);
        now = life.deadline().unwrap_or(now);
    }
    assert_eq!(actions, [Action::Take, Action::ColdReset, Action::ColdReset, Action::ColdReset]);
    assert_eq!((state(&life), life.refusal().unwrap().reason), (State::Mute, Reason::CardMute));
    assert_eq!(life.next_action(now, true), None);
    life.seen(seen(false, 2), now);
    life.seen(seen(true, 3), now);
    assert_eq!(life.next_action(now, false), Some(Action::Take));
}

#[test]
fn a_card_without_an_allowed_protocol_is_refused_by_that_name() {
    let (mut life, mut now) = life(Own::Always);
    life.seen(seen(true, 1), now);
    let mut told = None;
    while state(&life) == State::Settling {
        life.next_action(now, false).unwrap();
        told = life.took(Err(SlotError::ProtocolMismatch), now);
        now = life.deadline().unwrap_or(now);
    }
    assert_eq!((state(&life), told.clone()), (State::Mute, life.refusal()));
    let told = told.unwrap();
    assert_eq!((told.reason, told.delivery), (Reason::ProtocolMismatch, Delivery::NotSent));
    assert!(told.message.contains("T=1") && told.message.contains("preferred_protocols"), "{told}");
    assert_eq!(life.because().as_deref(), Some(&*told.message));
    life.unresponsive();
    assert_eq!(life.refusal().unwrap().reason, Reason::ReaderUnresponsive);
}

#[test]
fn a_removal_empties_the_reader_and_is_told_to_those_who_wait() {
    let (mut life, now) = ready();
    let before = life.status();
    assert_eq!(life.seen(seen(false, 2), now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&life), life.status().insertion_id), (State::Empty, String::new()));
    life.seen(seen(true, 3), now);
    life.took(Ok(card()), now);
    assert_ne!(life.status().insertion_id, before.insertion_id);
}

#[test]
fn a_swap_between_two_looks_is_a_new_insertion() {
    let (mut life, now) = ready();
    let before = life.status();
    assert_eq!(life.seen(seen(true, 3), now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&life), life.next_action(now, true)), (State::Settling, Some(Action::Take)));
    assert_ne!(life.status().insertion_id, before.insertion_id);
}

#[test]
fn a_lost_exchange_is_a_new_insertion_and_those_who_wait_go_on_waiting() {
    let (mut life, now) = ready();
    let (insertion, tag) = (life.insertion_id(), life.state_tag());
    assert_eq!(life.unit_ended(UnitEnd::Lost, now), None);
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    life.took(Ok(card()), now);
    assert_ne!((life.insertion_id(), life.state_tag()), (insertion, tag));
}

#[test]
fn a_card_that_a_unit_found_gone_is_looked_for_again() {
    let (mut life, now) = ready();
    assert_eq!(life.unit_ended(UnitEnd::Removed, now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&life), life.next_action(now, true)), (State::Empty, None));
    let later = life.deadline().unwrap();
    assert_eq!(life.next_action(later, true), Some(Action::Take));
    life.took(Err(SlotError::NoCard), later);
    assert_eq!(state(&life), State::Empty);
    assert!(life.deadline().unwrap() > later, "and not in a spin");
}

#[test]
fn what_the_monitor_says_during_a_unit_is_newer_than_how_the_unit_ends() {
    let (mut life, now) = ready();
    life.seen(seen(false, 2), now);
    life.seen(seen(true, 3), now);
    life.unit_ended(UnitEnd::Removed, now);
    assert_eq!((state(&life), life.next_action(now, false)), (State::Settling, Some(Action::Take)));
}

#[test]
fn a_card_that_left_while_it_was_taken_is_not_trusted() {
    let (mut life, now) = life(Own::Always);
    life.seen(seen(true, 1), now);
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    life.seen(seen(false, 2), now);
    life.took(Ok(card()), now);
    assert_eq!((state(&life), life.next_action(now, true)), (State::Empty, None));
}

#[test]
fn a_card_is_an_insertion_even_if_the_stack_forgot_to_count_it() {
    let (mut life, now) = life(Own::Always);
    life.seen(seen(false, 0), now);
    life.seen(seen(true, 0), now);
    assert_eq!((life.next_action(now, false), life.status().insertion_count), (Some(Action::Take), 1));
}

#[test]
fn a_restart_of_the_service_makes_a_new_insertion() {
    let (mut life, now) = ready();
    let before = life.insertion_id();
    assert_eq!(life.unavailable("down".into(), now).unwrap().reason, Reason::PcscUnavailable);
    assert_eq!((state(&life), life.deadline(), life.next_action(now, true)), (State::Unavailable, None, None));
    life.seen(seen(true, 1), now);
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    life.took(Ok(card()), now);
    assert_ne!(life.insertion_id(), before);
}

#[test]
fn a_service_that_fails_without_the_monitor_noticing_is_tried_again() {
    let (mut life, now) = ready();
    let down = SlotError::Service(ServiceError::Down("gone".into()));
    assert!(life.unit_ended(UnitEnd::Unavailable(down.to_string()), now).is_some());
    assert_eq!((state(&life), life.next_action(now, true)), (State::Unavailable, None));
    let later = life.deadline().unwrap();
    assert_eq!(life.next_action(later, true), Some(Action::Take));
    life.took(Err(down), later);
    assert_eq!((state(&life), life.next_action(later, true)), (State::Unavailable, None));
}

#[test]
fn a_hang_shows_until_the_call_returns_and_is_followed_by_a_reset() {
    let (mut life, now) = ready();
    assert_eq!(life.unresponsive().unwrap().reason, Reason::ReaderUnresponsive);
    assert_eq!(state(&life), State::Unresponsive);
    life.unit_ended(UnitEnd::InOrder(card()), now);
    assert_eq!((state(&life), life.next_action(now, true)), (State::Settling, Some(Action::Take)));
}

#[test]
fn on_demand_takes_the_card_for_those_who_wait_and_lets_it_go_after_a_while() {
    let (mut life, now) = life(Own::OnDemand);
    life.seen(seen(true, 1), now);
    assert_eq!((state(&life), life.next_action(now, false)), (State::Ready, None));
    let insertion = life.insertion_id();
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    life.took(Ok(card()), now);
    assert_eq!(life.next_action(now, true), Some(Action::Serve));
    life.unit_ended(UnitEnd::InOrder(card()), at(now, 100));
    assert_eq!(life.next_action(at(now, 5000), false), None);
    assert_eq!(life.deadline(), Some(at(now, 5100)));
    assert_eq!(life.next_action(at(now, 5100), false), Some(Action::Release));
    life.released();
    assert_eq!((state(&life), life.insertion_id()), (State::Ready, insertion));
    assert_eq!(life.next_action(at(now, 5200), false), None);
}

#[test]
fn on_demand_gives_up_on_a_rival_when_nobody_waits_any_more() {
    let (mut life, now) = life(Own::OnDemand);
    life.seen(seen(true, 1), now);
    assert_eq!(life.next_action(now, true), Some(Action::Take));
    for step in 0..20 {
        life.took(Err(SlotError::Held), at(now, step * 200));
    }
    assert_eq!(state(&life), State::HeldElsewhere);
    assert_eq!((life.next_action(at(now, 9000), false), state(&life)), (None, State::Ready));
}

#[test]
fn a_reader_that_is_not_owned_is_only_watched() {
    let (mut life, now) = life(Own::Never);
    life.seen(seen(true, 1), now);
    assert_eq!((life.next_action(now, true), life.refusal().unwrap().reason), (None, Reason::ReaderNotOwned));
    assert_eq!(state(&life), State::Ready);
}

#[test]
fn the_state_tag_moves_with_every_unit_and_every_reset() {
    let (mut life, now) = ready();
    let first = life.state_tag();
    let announced = life.next_state_tag();
    life.turn_begins();
    assert_eq!(life.state_tag(), announced);
    assert_ne!(first, announced);
    life.unit_ended(UnitEnd::Lost, now);
    life.next_action(now, true);
    life.took(Ok(card()), now);
    assert_ne!(life.state_tag(), announced);
}

#[test]
fn on_demand_lets_go_of_what_it_holds_also_when_the_card_changed_meanwhile() {
    let (mut life, now) = life(Own::OnDemand);
    life.seen(seen(true, 1), now);
    take(&mut life, Ok(card()), now);
    life.seen(seen(false, 2), now);
    assert_eq!(life.next_action(now, false), Some(Action::Release));
    life.released();
    life.seen(seen(true, 3), now);
    assert_eq!(life.next_action(now, false), None);
    take(&mut life, Ok(card()), now);
    life.unit_ended(UnitEnd::Lost, now);
    assert_eq!(life.next_action(now, false), Some(Action::Release));
}

#[test]
fn a_card_that_was_swapped_while_it_was_taken_is_taken_again() {
    let (mut life, now) = life(Own::Always);
    life.seen(seen(true, 1), now);
    assert_eq!(life.next_action(now, false), Some(Action::Take));
    life.seen(seen(true, 3), now);
    life.took(Ok(card()), now);
    assert_eq!((state(&life), life.status().insertion_count), (State::Settling, 2));
    take(&mut life, Ok(card()), now);
    assert_eq!((state(&life), life.status().insertion_count), (State::Ready, 2));
}

#[test]
fn a_reader_that_is_denied_is_tried_again_without_flapping() {
    let (mut life, start) = life(Own::Always);
    life.seen(seen(true, 1), start);
    let denied = || Err(SlotError::Service(ServiceError::Denied("no rule".into())));
    take(&mut life, denied(), start);
    let insertions = life.status().insertion_count;
    for _ in 0..10 {
        let now = life.deadline().unwrap();
        take(&mut life, denied(), now);
        assert_eq!((state(&life), life.status().insertion_count), (State::Unavailable, insertions));
    }
    assert!(life.because().unwrap().contains("polkit"));
    let now = life.deadline().unwrap();
    take(&mut life, Ok(card()), now);
    assert_eq!((state(&life), life.status().insertion_count), (State::Ready, insertions + 1));
}

#[test]
fn a_turn_knows_whether_the_card_was_reset_since_the_one_before() {
    let (mut life, now) = ready();
    assert!(life.was_reset_since_turn());
    life.turn_begins();
    life.unit_ended(UnitEnd::InOrder(card()), now);
    assert!(!life.was_reset_since_turn());
    life.was_reset(Ok(card()), now);
    assert!(life.was_reset_since_turn());
}

#[test]
fn a_reset_by_someone_else_is_a_new_insertion() {
    let (mut life, now) = ready();
    let (insertion, tag) = (life.insertion_id(), life.state_tag());
    assert_eq!(life.was_reset_elsewhere(card(), now), None);
    assert_eq!(state(&life), State::Ready);
    assert!(life.insertion_id() != insertion && life.state_tag() != tag);
}
