//! Scenarios of request ids, at invented times.

mod properties;

use super::*;
use crate::{
    apdu::StatusWord,
    caller::{Caller, Principal},
    card::unit::{CommandResult, StatusWordSource},
    user::{example, example_account},
};

const LIMITS: OutcomeLimits =
    OutcomeLimits { per_user: 2, total: 3, bytes: 16 << 10, lifetime: Duration::from_secs(600) };
/// The bytes that an outcome with one result counts beside its data.
const ONE_RESULT: usize = room::EMPTY as usize + size_of::<CommandResult>() + room::ALLOCATION;
/// The bytes of the answers that one user's two outcomes have room for, beside their results.
const ROOM: usize = LIMITS.bytes / 4 - 2 * ONE_RESULT;

#[test]
fn debug_of_a_key_does_not_show_its_id() {
    assert_eq!(format!("{:?}", key(8, 0x5A)), "RequestKey { principal: User(8), id: [redacted] }");
}

fn key(uid: u32, id: u8) -> RequestKey {
    RequestKey { principal: Principal::User(example(uid)), id: vec![id; 16].into() }
}

#[test]
fn clients_without_a_known_user_share_no_id() {
    let key = |caller: Caller| RequestKey::new(&caller, vec![1; 16]);
    let user = |connection| key(Caller::local(connection, example_account(7), None, None));
    assert_eq!((user(1), user(1)), (user(2), self::key(7, 1)), "a user has the id on every connection");
    assert_eq!(key(Caller::remote(1, "a".into())), key(Caller::remote(2, "a".into())));
    let (one, other) = (key(Caller::unknown(1, None)), key(Caller::unknown(2, None)));
    assert_eq!(one, key(Caller::unknown(1, Some(42))));
    assert_ne!(one, other);

    let (mut outcomes, now) = outcomes();
    assert_eq!(outcomes.begin(&one, &[1; 32].into(), now, || 7), Ok(Begin::Run));
    outcomes.finish(&one, brought(3), now);
    assert_eq!(outcomes.begin(&other, &[1; 32].into(), now, || 8), Ok(Begin::Run), "not the other one's answer");
    assert_eq!(outcomes.begin(&one, &[1; 32].into(), now, || 9), Ok(Begin::Replay(brought(3))));
    let third = key(Caller::unknown(3, None));
    assert!(outcomes.begin(&third, &[1; 32].into(), now, || 9).is_err(), "together they have one user's places");
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
    assert_eq!((outcomes.next_expiry(), outcomes.room.taken()), (None, (1, room::EMPTY)));
}

#[test]
fn outcomes_are_limited_per_user_and_in_total() {
    let (mut outcomes, now) = outcomes();
    let mut ask = |uid, id| outcomes.begin(&key(uid, id), &[1; 32].into(), now, || 7).map_err(|full| full.message);
    let per_user = "no more outcomes of this user can be kept: retry later, or leave request_id empty";
    let in_total = "no more outcomes can be kept: retry later, or leave request_id empty";
    assert_eq!([ask(0, 1), ask(0, 2), ask(0, 3)], [Ok(Begin::Run), Ok(Begin::Run), Err(per_user.into())]);
    assert_eq!([ask(1, 1), ask(2, 1)], [Ok(Begin::Run), Err(in_total.into())]);
}

/// The answer to a repeat of a finished request: the number of data bytes, or the failure.
fn repeated(outcomes: &mut Outcomes<u8>, uid: u32, id: u8, now: Instant) -> Result<usize, Failure> {
    let begun = outcomes.begin(&key(uid, id), &[1; 32].into(), now, || 7).unwrap();
    let Begin::Replay(outcome) = begun else { panic!("{begun:?}") };
    outcome.as_ref().as_ref().map(|outcome| outcome.results[0].data.len()).map_err(Failure::clone)
}

#[test]
fn a_new_outcome_drops_the_oldest_answers_of_its_user() {
    let (mut outcomes, now) = outcomes();
    let second = now + Duration::from_secs(1);
    for (uid, id) in [(1, 1), (0, 1), (0, 2)] {
        outcomes.begin(&key(uid, id), &[1; 32].into(), now, || 7).unwrap();
    }
    outcomes.finish(&key(1, 1), brought(ROOM), now);
    outcomes.finish(&key(0, 1), brought(1), now);
    outcomes.finish(&key(0, 2), brought(ROOM - 1), second);
    assert_eq!((repeated(&mut outcomes, 0, 1, now), repeated(&mut outcomes, 0, 2, now)), (Ok(1), Ok(ROOM - 1)));
    outcomes.finish(&key(0, 2), brought(ROOM), second);
    assert_eq!(repeated(&mut outcomes, 0, 2, now), Ok(ROOM));
    let dropped = repeated(&mut outcomes, 0, 1, now).unwrap_err();
    assert_eq!((dropped.reason, dropped.delivery), (Reason::OutcomesFull, Delivery::Unknown), "it does not run again");
    assert_eq!(repeated(&mut outcomes, 1, 1, now), Ok(ROOM), "another user's, and older");
    outcomes.expire(now + LIMITS.lifetime);
    assert_eq!(outcomes.room.held_by(&Principal::User(example(0))).0, 1, "the lifetime of the dropped one is the same");
}

#[test]
fn the_oldest_answers_are_dropped_first_and_only_as_needed() {
    let room_for_two = 2 * (ONE_RESULT + 200) + room::EMPTY as usize;
    let mut outcomes = Outcomes::new(OutcomeLimits { per_user: 9, total: 9, bytes: 4 * room_for_two, ..LIMITS });
    let now = Instant::now();
    for id in 1..=3 {
        outcomes.begin(&key(0, id), &[1; 32].into(), now, || 7).unwrap();
        outcomes.finish(&key(0, id), brought(200), now + Duration::from_secs(id.into()));
    }
    assert_eq!([1, 2, 3].map(|id| repeated(&mut outcomes, 0, id, now).is_ok()), [false, true, true]);
}

#[test]
fn answers_without_any_room_are_not_kept() {
    let (mut outcomes, now) = outcomes();
    outcomes.begin(&key(0, 1), &[1; 32].into(), now, || 7).unwrap();
    outcomes.finish(&key(0, 1), brought(LIMITS.bytes / 4), now);
    assert_eq!(repeated(&mut outcomes, 0, 1, now).unwrap_err().reason, Reason::OutcomesFull);
    assert_eq!(outcomes.room.taken(), (1, room::EMPTY));
}

#[test]
fn an_outcome_that_can_have_no_room_drops_no_other_answers() {
    let (mut outcomes, now) = outcomes();
    for id in 1..=2 {
        outcomes.begin(&key(0, id), &[1; 32].into(), now, || 7).unwrap();
    }
    outcomes.finish(&key(0, 1), brought(3), now);
    outcomes.finish(&key(0, 2), brought(LIMITS.bytes / 4), now);
    assert_eq!(repeated(&mut outcomes, 0, 2, now).unwrap_err().reason, Reason::OutcomesFull);
    assert_eq!(repeated(&mut outcomes, 0, 1, now), Ok(3));
}

#[test]
fn the_last_eighth_keeps_outcomes_of_users_with_few() {
    let limits = OutcomeLimits { per_user: 99, total: 999, bytes: 256 << 10, ..LIMITS };
    let (mut outcomes, now) = (Outcomes::new(limits), Instant::now());
    let mut keep = |uid, bytes| {
        outcomes.begin(&key(uid, 1), &[1; 32].into(), now, || 7).unwrap();
        outcomes.finish(&key(uid, 1), brought(bytes - ONE_RESULT), now);
        repeated(&mut outcomes, uid, 1, now).is_ok()
    };
    let (quarter, few) = (limits.bytes / 4, limits.bytes / 64);
    assert!(
        [(0, quarter), (1, quarter), (2, quarter), (3, quarter / 2)].into_iter().all(|(uid, bytes)| keep(uid, bytes))
    );
    assert!(!keep(4, few + 1) && keep(5, few));
}
