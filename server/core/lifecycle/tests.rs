//! Scenarios of a reader's life cycle, with invented times.

mod properties;

use super::*;
use crate::{
    error::{Delivery, Failure, Reason},
    slot::{Protocol, ServiceError, SlotError},
    status::{ReaderStatus, State},
};

fn at(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

fn lifecycle(own: Own) -> (CardLifecycle, Instant) {
    let now = Instant::now();
    (CardLifecycle::new(own, Duration::from_secs(5), ProtocolChoice::T1, "x".into(), now), now)
}

fn seen(card_present: bool, event_count: u32) -> SlotStatus {
    SlotStatus { name: "R".into(), card_present, event_count, atr: if card_present { vec![0x3B] } else { vec![] } }
}

fn card() -> CardInfo {
    CardInfo { atr: vec![0x3B, 0x00], protocol: Protocol::T1 }
}

fn state(lifecycle: &CardLifecycle) -> State {
    lifecycle.status().state
}

/// Takes the card, as the actor does.
fn take(lifecycle: &mut CardLifecycle, taken: Result<CardInfo, SlotError>, now: Instant) -> Option<Failure> {
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    lifecycle.on_taken(taken, now)
}

/// A reader with a taken card, and the time.
fn ready() -> (CardLifecycle, Instant) {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
    assert_eq!(lifecycle.on_taken(Ok(card()), now), None);
    assert_eq!(state(&lifecycle), State::Ready);
    (lifecycle, now)
}

#[test]
fn another_answer_to_reset_is_another_status() {
    let (mut lifecycle, now) = ready();
    let before = lifecycle.status();
    lifecycle.on_reset(Ok(CardInfo { atr: vec![0x3B, 0x80], ..card() }), now);
    assert!(!lifecycle.is_status(&before) && lifecycle.is_status(&lifecycle.status()));
}

#[test]
fn an_empty_reader_takes_an_inserted_card() {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, false)), (State::Unavailable, None));
    lifecycle.on_status(seen(false, 0), now);
    assert_eq!(
        (state(&lifecycle), lifecycle.take_action(now, false), lifecycle.deadline()),
        (State::Empty, None, None)
    );

    lifecycle.on_status(seen(true, 1), now);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, false)), (State::Settling, Some(Action::Take)));
    lifecycle.on_taken(Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Ready, 1));
    assert_eq!((lifecycle.take_action(now, false), lifecycle.take_action(now, true)), (None, Some(Action::Serve)));
}

#[test]
fn a_held_card_is_retried_and_shown_after_two_seconds() {
    let (mut lifecycle, start) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), start);
    let mut now = start;
    let mut pauses = Vec::new();
    while state(&lifecycle) == State::Settling {
        assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
        lifecycle.on_taken(Err(SlotError::Held), now);
        assert_eq!(lifecycle.take_action(now, false), None);
        let retry = lifecycle.deadline().unwrap();
        pauses.push((retry - now).as_millis());
        now = retry;
    }
    assert_eq!(pauses[..6], [10, 20, 40, 80, 160, 200]);
    assert_eq!(state(&lifecycle), State::HeldElsewhere);
    assert!(now - start < Duration::from_millis(2800), "{:?}", now - start);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
    lifecycle.on_taken(Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Ready, 1));
}

#[test]
fn a_refused_call_is_not_told_as_a_card_that_another_program_holds() {
    let (mut lifecycle, start) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), start);
    for _ in 0..10 {
        let now = lifecycle.deadline().unwrap();
        take(&mut lifecycle, Err(SlotError::StaleHandle), now);
        assert_eq!(state(&lifecycle), State::Unavailable);
    }
}

#[test]
fn an_event_shortens_the_pause() {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), now);
    lifecycle.on_taken(Err(SlotError::Held), now);
    lifecycle.on_taken(Err(SlotError::Held), now);
    assert_eq!(lifecycle.take_action(now, false), None);
    lifecycle.on_status(SlotStatus { atr: vec![1, 2, 3], ..seen(true, 1) }, now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
}

#[test]
fn a_silent_card_gets_three_cold_resets() {
    let (mut lifecycle, start) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), start);
    let mut actions = Vec::new();
    let mut now = start;
    while state(&lifecycle) == State::Settling {
        actions.push(lifecycle.take_action(now, false).unwrap());
        lifecycle.on_taken(Err(SlotError::Mute("no ATR".into())), now);
        now = lifecycle.deadline().unwrap_or(now);
    }
    assert_eq!(actions, [Action::Take, Action::ColdReset, Action::ColdReset, Action::ColdReset]);
    assert_eq!((state(&lifecycle), lifecycle.refusal().unwrap().reason), (State::Mute, Reason::CardMute));
    assert_eq!(lifecycle.take_action(now, true), None);
    lifecycle.on_status(seen(false, 2), now);
    lifecycle.on_status(seen(true, 3), now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
}

#[test]
fn a_silent_card_is_held_while_another_program_prevents_its_cold_reset() {
    let (mut lifecycle, mut now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), now);
    take(&mut lifecycle, Err(SlotError::Mute("no ATR".into())), now);
    let mut try_until = |wished, error: SlotError| {
        let mut actions = Vec::new();
        while state(&lifecycle) != wished {
            now = lifecycle.deadline().unwrap();
            actions.push(lifecycle.take_action(now, false).unwrap());
            lifecycle.on_taken(Err(error.clone()), now);
        }
        actions
    };
    let held = try_until(State::HeldElsewhere, SlotError::Held);
    assert!(held.len() > 3 && held.iter().all(|action| *action == Action::ColdReset), "{held:?}");
    assert_eq!(try_until(State::Mute, SlotError::Mute("no ATR".into())), [Action::ColdReset; 3]);
}

#[test]
fn a_card_without_an_allowed_protocol_is_refused() {
    let (mut lifecycle, mut now) = lifecycle(Own::Always);
    lifecycle.on_status(SlotStatus { atr: vec![0x3B, 0x00], ..seen(true, 1) }, now);
    let mut refusal = None;
    while state(&lifecycle) == State::Settling {
        lifecycle.take_action(now, false).unwrap();
        refusal = lifecycle.on_taken(Err(SlotError::ProtocolMismatch), now);
        now = lifecycle.deadline().unwrap_or(now);
    }
    assert_eq!((state(&lifecycle), refusal.clone()), (State::Mute, lifecycle.refusal()));
    let refusal = refusal.unwrap();
    assert_eq!((refusal.reason, refusal.delivery), (Reason::ProtocolMismatch, Delivery::NotSent));
    assert!(
        refusal.message.contains("T=0 and not T=1") && refusal.message.contains("preferred_protocols"),
        "{refusal}"
    );
    assert_eq!(lifecycle.status().atr, [0x3B, 0x00], "it has answered");
    assert_eq!(lifecycle.unusable_because().as_deref(), Some(&*refusal.message));
    lifecycle.on_hang();
    assert_eq!(lifecycle.refusal().unwrap().reason, Reason::ReaderUnresponsive);
}

#[test]
fn a_removal_empties_the_reader_and_refuses_waiters() {
    let (mut lifecycle, now) = ready();
    let before = lifecycle.status();
    assert_eq!(lifecycle.on_status(seen(false, 2), now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_id), (State::Empty, String::new()));
    lifecycle.on_status(seen(true, 3), now);
    lifecycle.on_taken(Ok(card()), now);
    assert_ne!(lifecycle.status().insertion_id, before.insertion_id);
}

#[test]
fn a_swap_between_two_polls_is_a_new_insertion() {
    let (mut lifecycle, now) = ready();
    let before = lifecycle.status();
    assert_eq!(lifecycle.on_status(seen(true, 3), now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Settling, Some(Action::Take)));
    assert_ne!(lifecycle.status().insertion_id, before.insertion_id);
}

#[test]
fn a_lost_exchange_is_a_new_insertion_and_waiters_stay() {
    let (mut lifecycle, now) = ready();
    let (insertion, tag) = (lifecycle.insertion_id(), lifecycle.state_tag());
    assert_eq!(lifecycle.on_unit_ended(UnitEnd::Lost, now), None);
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    lifecycle.on_taken(Ok(card()), now);
    assert_ne!((lifecycle.insertion_id(), lifecycle.state_tag()), (insertion, tag));
}

#[test]
fn a_card_missed_by_a_unit_is_checked_again() {
    let (mut lifecycle, now) = ready();
    assert_eq!(lifecycle.on_unit_ended(UnitEnd::Removed, now).unwrap().reason, Reason::CardRemoved);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Empty, None));
    let later = lifecycle.deadline().unwrap();
    assert_eq!(lifecycle.take_action(later, true), Some(Action::Take));
    lifecycle.on_taken(Err(SlotError::NoCard), later);
    assert_eq!(state(&lifecycle), State::Empty);
    assert!(lifecycle.deadline().unwrap() > later, "the next look is not due at once");
}

#[test]
fn a_card_that_only_a_look_finds_is_used() {
    // The monitor's report of the empty reader may come before or after the end of the unit that caused it.
    for is_reported_first in [false, true] {
        let (mut lifecycle, now) = ready();
        let before = lifecycle.insertion_id();
        if is_reported_first {
            lifecycle.on_status(seen(false, 1), now);
        }
        lifecycle.on_unit_ended(UnitEnd::Removed, now);
        lifecycle.on_status(seen(false, 1), now);
        assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Empty, None));
        let looked = lifecycle.deadline().unwrap();
        take(&mut lifecycle, Ok(card()), looked);
        let found = lifecycle.insertion_id();
        assert_eq!(state(&lifecycle), State::Ready);
        assert_ne!(found, before);
        for status in [seen(false, 1), seen(true, 1)] {
            assert_eq!(lifecycle.on_status(status, looked), None, "the same card");
        }
        assert_eq!((state(&lifecycle), lifecycle.insertion_id()), (State::Ready, found));
        assert_eq!(lifecycle.on_status(seen(false, 2), looked).unwrap().reason, Reason::CardRemoved);
    }
}

#[test]
fn looks_at_an_empty_reader_end_after_a_second_and_a_half() {
    for error in [SlotError::NoCard, SlotError::CardRemoved, SlotError::Held, SlotError::Mute("no ATR".into())] {
        let (mut lifecycle, start) = ready();
        lifecycle.on_unit_ended(UnitEnd::Removed, start);
        lifecycle.on_status(seen(false, 1), start);
        let mut looks = Vec::new();
        while let Some(now) = lifecycle.deadline() {
            looks.push((now - start).as_millis());
            take(&mut lifecycle, Err(error.clone()), now);
            assert_eq!(state(&lifecycle), State::Empty, "{error}");
        }
        assert_eq!(looks, [100, 300, 700, 1500], "{error}");
    }
}

#[test]
fn no_look_is_made_once_the_monitor_has_noticed_the_removal() {
    for is_reported_first in [false, true] {
        let (mut lifecycle, now) = ready();
        if is_reported_first {
            lifecycle.on_status(seen(false, 2), now);
        }
        lifecycle.on_unit_ended(UnitEnd::Removed, now);
        lifecycle.on_status(seen(false, 2), now);
        assert_eq!((state(&lifecycle), lifecycle.deadline()), (State::Empty, None));
        // The event comes while a look is under way, which has found the next card before the monitor.
        lifecycle.on_status(seen(true, 3), now);
        take(&mut lifecycle, Ok(card()), now);
        lifecycle.on_unit_ended(UnitEnd::Removed, now);
        let looked = lifecycle.deadline().unwrap();
        assert_eq!(lifecycle.take_action(looked, true), Some(Action::Take));
        lifecycle.on_status(seen(false, 4), looked);
        lifecycle.on_taken(Ok(card()), looked);
        assert_eq!((state(&lifecycle), lifecycle.deadline()), (State::Empty, None));
    }
}

#[test]
fn a_card_found_by_a_look_on_demand_is_held_for_a_waiter_only() {
    for waits in [false, true] {
        let (mut lifecycle, now) = lifecycle(Own::OnDemand);
        lifecycle.on_status(seen(true, 1), now);
        take(&mut lifecycle, Ok(card()), now);
        lifecycle.on_unit_ended(UnitEnd::Removed, now);
        lifecycle.on_status(seen(false, 1), now);
        let looked = lifecycle.deadline().unwrap();
        assert_eq!(lifecycle.take_action(looked, waits), Some(Action::Take));
        lifecycle.on_taken(Ok(card()), looked);
        let found = lifecycle.insertion_id();
        if waits {
            assert_eq!(lifecycle.take_action(looked, true), Some(Action::Serve));
            continue;
        }
        assert_eq!(lifecycle.take_action(looked, false), Some(Action::Release));
        lifecycle.on_released();
        assert_eq!(lifecycle.on_status(seen(true, 1), looked), None);
        assert_eq!((state(&lifecycle), lifecycle.insertion_id()), (State::Ready, found));
        assert_eq!(lifecycle.take_action(looked, true), Some(Action::Take));
    }
}

#[test]
fn a_look_on_demand_needs_the_handle_or_a_waiter() {
    let (mut lifecycle, now) = lifecycle(Own::OnDemand);
    lifecycle.on_status(seen(true, 1), now);
    take(&mut lifecycle, Ok(card()), now);
    lifecycle.on_unit_ended(UnitEnd::Removed, now);
    lifecycle.on_status(seen(false, 1), now);
    let looked = lifecycle.deadline().unwrap();
    assert_eq!(lifecycle.take_action(looked, false), Some(Action::Take));
    lifecycle.on_taken(Err(SlotError::NoCard), looked);
    lifecycle.on_released();
    let later = lifecycle.deadline().unwrap();
    assert_eq!((lifecycle.take_action(later, false), lifecycle.deadline()), (None, None));
}

#[test]
fn monitor_reports_during_a_unit_override_its_end() {
    let (mut lifecycle, now) = ready();
    lifecycle.on_status(seen(false, 2), now);
    lifecycle.on_status(seen(true, 3), now);
    lifecycle.on_unit_ended(UnitEnd::Removed, now);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, false)), (State::Settling, Some(Action::Take)));
}

#[test]
fn a_card_removed_while_it_was_taken_is_not_used() {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    lifecycle.on_status(seen(false, 2), now);
    lifecycle.on_taken(Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Empty, None));
}

#[test]
fn a_card_is_an_insertion_without_a_new_event_count() {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(false, 0), now);
    lifecycle.on_status(seen(true, 0), now);
    assert_eq!((lifecycle.take_action(now, false), lifecycle.status().insertion_count), (Some(Action::Take), 1));
}

#[test]
fn a_restart_of_the_service_makes_a_new_insertion() {
    let (mut lifecycle, now) = ready();
    let before = lifecycle.insertion_id();
    assert_eq!(lifecycle.on_unavailable("down".into(), now).unwrap().reason, Reason::PcscUnavailable);
    assert_eq!(
        (state(&lifecycle), lifecycle.deadline(), lifecycle.take_action(now, true)),
        (State::Unavailable, None, None)
    );
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    lifecycle.on_taken(Ok(card()), now);
    assert_ne!(lifecycle.insertion_id(), before);
}

#[test]
fn a_service_failure_unnoticed_by_the_monitor_is_retried() {
    let (mut lifecycle, now) = ready();
    let down = SlotError::Service(ServiceError::Down("gone".into()));
    assert!(lifecycle.on_unit_ended(UnitEnd::Unavailable(down.to_string()), now).is_some());
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Unavailable, None));
    let later = lifecycle.deadline().unwrap();
    assert_eq!(lifecycle.take_action(later, true), Some(Action::Take));
    lifecycle.on_taken(Err(down), later);
    assert_eq!((state(&lifecycle), lifecycle.take_action(later, true)), (State::Unavailable, None));
}

#[test]
fn a_hang_shows_until_the_call_returns_then_a_reset() {
    let (mut lifecycle, now) = ready();
    assert_eq!(lifecycle.on_hang().unwrap().reason, Reason::ReaderUnresponsive);
    assert_eq!(state(&lifecycle), State::Unresponsive);
    lifecycle.on_unit_ended(UnitEnd::InOrder(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, true)), (State::Settling, Some(Action::Take)));
}

#[test]
fn on_demand_takes_cards_for_waiters_and_releases_them() {
    let (mut lifecycle, now) = lifecycle(Own::OnDemand);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!((state(&lifecycle), lifecycle.take_action(now, false)), (State::Ready, None));
    let insertion = lifecycle.insertion_id();
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    lifecycle.on_taken(Ok(card()), now);
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Serve));
    lifecycle.on_unit_ended(UnitEnd::InOrder(card()), at(now, 100));
    assert_eq!(lifecycle.take_action(at(now, 5000), false), None);
    assert_eq!(lifecycle.deadline(), Some(at(now, 5100)));
    assert_eq!(lifecycle.take_action(at(now, 5100), false), Some(Action::Release));
    lifecycle.on_released();
    assert_eq!((state(&lifecycle), lifecycle.insertion_id()), (State::Ready, insertion));
    assert_eq!(lifecycle.take_action(at(now, 5200), false), None);
}

#[test]
fn on_demand_stops_trying_a_held_card_without_waiters() {
    let (mut lifecycle, now) = lifecycle(Own::OnDemand);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!(lifecycle.take_action(now, true), Some(Action::Take));
    for step in 0..20 {
        lifecycle.on_taken(Err(SlotError::Held), at(now, step * 200));
    }
    assert_eq!(state(&lifecycle), State::HeldElsewhere);
    assert_eq!((lifecycle.take_action(at(now, 9000), false), state(&lifecycle)), (None, State::Ready));
}

#[test]
fn a_reader_that_is_not_owned_is_only_watched() {
    let (mut lifecycle, now) = lifecycle(Own::Never);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!((lifecycle.take_action(now, true), lifecycle.refusal().unwrap().reason), (None, Reason::ReaderNotOwned));
    assert_eq!(state(&lifecycle), State::Ready);
}

#[test]
fn the_state_tag_moves_with_every_unit_and_every_reset() {
    let (mut lifecycle, now) = ready();
    let first = lifecycle.state_tag();
    let announced = lifecycle.next_state_tag();
    lifecycle.on_turn();
    assert_eq!(lifecycle.state_tag(), announced);
    assert_ne!(first, announced);
    lifecycle.on_unit_ended(UnitEnd::Lost, now);
    lifecycle.take_action(now, true);
    lifecycle.on_taken(Ok(card()), now);
    assert_ne!(lifecycle.state_tag(), announced);
}

#[test]
fn on_demand_releases_its_handle_after_a_card_change() {
    let (mut lifecycle, now) = lifecycle(Own::OnDemand);
    lifecycle.on_status(seen(true, 1), now);
    take(&mut lifecycle, Ok(card()), now);
    lifecycle.on_status(seen(false, 2), now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Release));
    lifecycle.on_released();
    lifecycle.on_status(seen(true, 3), now);
    assert_eq!(lifecycle.take_action(now, false), None);
    take(&mut lifecycle, Ok(card()), now);
    lifecycle.on_unit_ended(UnitEnd::Lost, now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Release));
}

#[test]
fn a_card_swapped_while_it_was_taken_is_taken_again() {
    let (mut lifecycle, now) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), now);
    assert_eq!(lifecycle.take_action(now, false), Some(Action::Take));
    lifecycle.on_status(seen(true, 3), now);
    lifecycle.on_taken(Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Settling, 2));
    take(&mut lifecycle, Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Ready, 2));
}

#[test]
fn a_denied_reader_is_retried_without_status_changes() {
    let (mut lifecycle, start) = lifecycle(Own::Always);
    lifecycle.on_status(seen(true, 1), start);
    let denied = || Err(SlotError::Service(ServiceError::Denied("no rule".into())));
    take(&mut lifecycle, denied(), start);
    let insertions = lifecycle.status().insertion_count;
    for _ in 0..10 {
        let now = lifecycle.deadline().unwrap();
        take(&mut lifecycle, denied(), now);
        assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Unavailable, insertions));
    }
    assert!(lifecycle.unusable_because().unwrap().contains(crate::pcsc_words::HERE.admit));
    let now = lifecycle.deadline().unwrap();
    take(&mut lifecycle, Ok(card()), now);
    assert_eq!((state(&lifecycle), lifecycle.status().insertion_count), (State::Ready, insertions + 1));
}

#[test]
fn a_turn_records_whether_the_card_was_reset_before_it() {
    let (mut lifecycle, now) = ready();
    assert!(lifecycle.was_reset_since_turn());
    lifecycle.on_turn();
    lifecycle.on_unit_ended(UnitEnd::InOrder(card()), now);
    assert!(!lifecycle.was_reset_since_turn());
    lifecycle.on_reset(Ok(card()), now);
    assert!(lifecycle.was_reset_since_turn());
}

#[test]
fn a_reset_by_another_program_is_a_new_insertion() {
    let (mut lifecycle, now) = ready();
    let (insertion, tag) = (lifecycle.insertion_id(), lifecycle.state_tag());
    assert_eq!(lifecycle.on_foreign_reset(card(), now), None);
    assert_eq!(state(&lifecycle), State::Ready);
    assert!(lifecycle.insertion_id() != insertion && lifecycle.state_tag() != tag);
}
