//! Scenarios of request ids, at invented times.

mod properties;

use super::*;
use crate::{
    apdu::StatusWord,
    caller::Principal,
    card::unit::{CommandResult, StatusWordSource},
};

const LIMITS: OutcomeLimits = OutcomeLimits { per_user: 2, total: 3, bytes: 100, lifetime: Duration::from_secs(600) };

#[test]
fn debug_of_a_key_does_not_show_its_id() {
    assert_eq!(format!("{:?}", key(7, 0x5A)), "RequestKey { principal: User(7), id: [redacted] }");
}

fn key(uid: u32, id: u8) -> RequestKey {
    RequestKey { principal: Principal::User(uid), id: vec![id; 16].into() }
}

fn brought(bytes: usize) -> Arc<Outcome> {
    let result = CommandResult {
        data: vec![0; bytes].into(),
        status_word: StatusWord(0x9000),
        source: StatusWordSource::Command,
        get_response_count: 0,
        card_duration: Duration::ZERO,
    };
    Arc::new(Ok(UnitOutcome {
        results: vec![result],
        stopped: None,
        insertion_id: String::new(),
        state_tag: String::new(),
        queue_duration: Duration::ZERO,
        card_duration: Duration::ZERO,
        reset_before_unit: false,
    }))
}

fn outcomes() -> (Outcomes<u8>, Instant) {
    (Outcomes::new(LIMITS), Instant::now())
}

#[test]
fn the_first_request_runs_and_repeats_join_or_replay() {
    let (mut outcomes, now) = outcomes();
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7), Ok(Begin::Run));
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 8), Ok(Begin::Join(7)));
    outcomes.finish(&key(0, 1), brought(3), now);
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 9), Ok(Begin::Replay(brought(3))));
    assert_eq!(
        outcomes.begin(&key(5, 1), &[1; 32].into(), now, || 9),
        Ok(Begin::Run),
        "another user's id is another id"
    );
}

#[test]
fn other_commands_under_the_same_id_are_refused() {
    let (mut outcomes, now) = outcomes();
    outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7).unwrap();
    let refused = outcomes.begin(&key(0, 1), &[2; 32].into(), now, || 7).unwrap_err();
    assert_eq!((refused.reason, refused.delivery), (Reason::RequestIdReused, Delivery::NotSent));
}

#[test]
fn unsent_units_are_forgotten_and_unknown_outcomes_replaced() {
    let (mut outcomes, now) = outcomes();
    outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7).unwrap();
    outcomes.finish(&key(0, 1), Arc::new(Err(Failure::not_sent(Reason::QueueTimeout, "late"))), now);
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7), Ok(Begin::Run));
    let unknown = Arc::new(Err(Failure::unknown(Reason::ReaderUnresponsive, "hangs")));
    outcomes.finish(&key(0, 1), Arc::clone(&unknown), now);
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7), Ok(Begin::Replay(unknown)));
    outcomes.finish(&key(0, 1), brought(3), now);
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7), Ok(Begin::Replay(brought(3))));
}

#[test]
fn a_withdrawn_request_runs_when_it_is_repeated() {
    let (mut outcomes, now) = outcomes();
    for _ in 0..=LIMITS.per_user {
        assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7), Ok(Begin::Run));
        outcomes.withdraw(&key(0, 1));
    }
}

#[test]
fn outcomes_expire_at_their_lifetime_and_not_before() {
    let (mut outcomes, now) = outcomes();
    for id in 1..=2 {
        outcomes.begin(&key(0, id), &[1; 32].into(), now, || 7).unwrap();
        outcomes.finish(&key(0, id), brought(3), now);
    }
    let full = outcomes.begin(&key(0, 3), &[1; 32].into(), now, || 7).unwrap_err();
    assert_eq!(full.reason, Reason::OutcomesFull);
    assert_eq!(outcomes.next_expiry(), Some(now + LIMITS.lifetime));
    let later = now + LIMITS.lifetime;
    assert_eq!(outcomes.begin(&key(0, 1), &[1; 32].into(), later, || 7), Ok(Begin::Run));
    assert_eq!((outcomes.next_expiry(), outcomes.bytes), (None, 0));
}

#[test]
fn outcomes_are_limited_per_user_in_total_and_in_bytes() {
    let (mut outcomes, now) = outcomes();
    for (uid, id) in [(0, 1), (0, 2), (1, 1)] {
        assert_eq!(outcomes.begin(&key(uid, id), &[1; 32].into(), now, || 7), Ok(Begin::Run));
    }
    assert_eq!(outcomes.begin(&key(2, 1), &[1; 32].into(), now, || 7).unwrap_err().reason, Reason::OutcomesFull);
    let unsent = || Arc::new(Err(Failure::not_sent(Reason::QueueTimeout, "late")));
    outcomes.finish(&key(1, 1), unsent(), now);
    outcomes.finish(&key(0, 2), unsent(), now);
    outcomes.finish(&key(0, 1), brought(100), now);
    assert_eq!(outcomes.begin(&key(2, 1), &[1; 32].into(), now, || 7).unwrap_err().reason, Reason::OutcomesFull);
    outcomes.finish(&key(0, 1), brought(99), now);
    assert_eq!(outcomes.begin(&key(2, 1), &[1; 32].into(), now, || 7), Ok(Begin::Run));
}
