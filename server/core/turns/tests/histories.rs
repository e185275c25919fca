//! Properties of all histories of turns. A planted fault breaks each property once.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::world::{Caller, Fault, World, caller, ms};
use crate::{
    properties::{holds, is_broken},
    turns::{bounds::Bounds, request::Kind, schedule::TurnSettings},
};

const CASES: u32 = 100;
const HISTORY: Duration = ms(25_000);
const FOR_EVER: Duration = Duration::from_secs(3600);

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let who = (0..3u8, 0..2u8, prop_oneof![6 => Just(Kind::Unit), 1 => Just(Kind::Session), 2 => Just(Kind::Command)]);
    let think =
        prop_oneof![3 => Just(ms(0)), 3 => Just(ms(1)), 1 => Just(ms(4)), 1 => Just(ms(60)), 1 => Just(ms(700))];
    let length =
        prop_oneof![2 => Just(ms(1)), 4 => Just(ms(20)), 2 => Just(ms(130)), 1 => Just(ms(400)), 1 => Just(ms(3_000))];
    let wait = prop_oneof![1 => Just(ms(0)), 1 => Just(ms(2)), 1 => Just(ms(300)), 6 => Just(FOR_EVER)];
    let count = prop_oneof![1 => Just(1), 2 => Just(6), 4 => Just(usize::MAX)];
    let habits = (1..4usize, think, length, prop::bool::weighted(0.7), prop::bool::weighted(0.1));
    let life = (wait, 0..400u64, count, prop_oneof![4 => Just(1), 1 => Just(3)]);
    let one = (who, habits, life).prop_map(|((user, group, kind), habits, (wait, start, count, share))| {
        let (depth, think, length, raises, opens_pairs) = habits;
        let rests = kind == Kind::Command;
        let start = ms(start);
        Caller { user, group, kind, depth, think, length, raises, rests, opens_pairs, wait, start, count, share }
    });
    vec(one, 2..6)
}

fn resets() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(ms(0)), Just(ms(10)), Just(ms(150)), Just(ms(400))]
}

fn of_one_group(mut callers: Vec<Caller>) -> Vec<Caller> {
    callers.iter_mut().for_each(|caller| (caller.user, caller.group) = (0, 0));
    callers
}

fn play(mut callers: Vec<Caller>, reset: Duration, fault: Option<Fault>) -> TestCaseResult {
    // All callers of a user have the same share.
    for index in 1..callers.len() {
        let same = callers.iter().find(|other| other.user == callers[index].user);
        callers[index].share = same.map_or(1, |other| other.share);
    }
    World::new(callers, reset, short(), fault).run(HISTORY)
}

/// Settings with short bounds, which leave room in a history for the longest wait that the rule allows.
fn short() -> TurnSettings {
    let bounds = Bounds { max_contended_unit: ms(1_000), max_contended_lease: ms(2_000) };
    TurnSettings { bounds, ..TurnSettings::default() }
}

/// Users whose callers all raise and ask again at once, with short turns, so that only the rule decides their waits.
fn crowds() -> impl Strategy<Value = (Vec<Caller>, Duration)> {
    let one =
        (0..4u8, 1..3usize, 1..30u64).prop_map(|(user, depth, length)| Caller { depth, ..caller(user, ms(length)) });
    (vec(one, 2..5), 10..200u64).prop_map(|(callers, reset)| (callers, ms(reset)))
}

/// Two users that both always wait. The units take at most two quanta, or at most one if a user has several groups:
/// such a user would need a reset to go on while the other user skips a visit.
fn rivals() -> impl Strategy<Value = (Vec<Caller>, Duration)> {
    let user = |user: u8| {
        (1..3u8, 1..4usize, 1..300u64).prop_map(move |(callers, depth, percent)| {
            let of = |group| Caller { group, depth: depth + 1, ..caller(user, ms(percent)) };
            (0..callers).map(of).collect::<Vec<_>>()
        })
    };
    (user(0), user(1), 40..150u64).prop_map(|(mut callers, others, reset)| {
        callers.extend(others);
        let quanta = if callers.iter().any(|caller| caller.group > 0) { 1 } else { 2 };
        for caller in &mut callers {
            caller.length = caller.length.min(ms(reset) * 3 / 2 * quanta);
        }
        (callers, ms(reset))
    })
}

fn compete(callers: Vec<Caller>, reset: Duration, fault: Option<Fault>) -> TestCaseResult {
    let mut world = World::new(callers, reset, TurnSettings::default(), fault);
    world.run(ms(30_000))?;
    let time = |user: u8| world.charged.get(&user).copied().unwrap_or_default().as_secs_f64();
    let (one, other) = (time(0), time(1));
    prop_assert!(one.min(other) >= 0.9 * one.max(other), "one user has more of the card: {one:.2} s, {other:.2} s");
    Ok(())
}

#[test]
fn every_history_keeps_the_rules() {
    holds(CASES, (callers(), resets()), |(callers, reset)| play(callers, reset, None));
    holds(CASES, crowds(), |(callers, reset)| play(callers, reset, None));
}

#[test]
fn two_users_who_always_wait_have_the_card_for_the_same_time() {
    holds(CASES / 3, rivals(), |(callers, reset)| compete(callers, reset, None));
}

#[test]
fn default_waits_outlast_default_bounds_for_ten_users() {
    for kind in [Kind::Unit, Kind::Session] {
        for (users, count) in [(2, 1), (5, 1), (10, 1), (10, usize::MAX)] {
            let of = |user| Caller { kind, wait: ms(30_000), count, ..caller(user, ms(60_000)) };
            let mut world = World::new((0..users).map(of).collect(), ms(400), TurnSettings::default(), None);
            world.run(ms(120_000)).unwrap();
            assert_eq!(world.expired, 0, "{users} users, {kind:?}");
            assert!(world.turns.len() >= usize::from(users), "{users} users, {kind:?}");
        }
    }
}

#[test]
fn every_broken_rule_is_found() {
    for (fault, rule) in [
        (Fault::LingerForNobody, "lingers for nobody"),
        (Fault::ForgottenEnd, "the card is kept for a group that has ended"),
        (Fault::HiddenDeadline, "a request expires for a lingerer"),
        (Fault::ForgottenCycle, "twice in one cycle"),
        (Fault::Idleness, "idles while somebody waits"),
    ] {
        is_broken(CASES, (callers(), resets()), |(callers, reset)| play(callers, reset, Some(fault)), fault, rule);
    }
    let (fault, rule) = (Fault::OwnContention, "a turn is stopped without contention");
    is_broken(CASES, callers(), |callers| play(of_one_group(callers), ms(0), Some(fault)), fault, rule);
    let (fault, rule) = (Fault::RestartedQuantum, "waits longer than the bound");
    is_broken(CASES, crowds(), |(callers, reset)| play(callers, reset, Some(fault)), fault, rule);
    let (fault, rule) = (Fault::ForgottenDebt, "one user has more of the card");
    is_broken(CASES, rivals(), |(callers, reset)| compete(callers, reset, Some(fault)), fault, rule);
}

#[test]
fn the_histories_reach_what_they_are_for() {
    use std::cell::RefCell;
    #[derive(Debug, Default)]
    struct Seen {
        turns: usize,
        resets: usize,
        stopped: usize,
        expired: usize,
        lingered: Duration,
        in_debt: usize,
    }
    let seen = RefCell::new(Seen::default());
    holds(60, (callers(), resets()), |(callers, reset)| {
        let mut world = World::new(callers, reset, short(), None);
        world.run(HISTORY)?;
        let mut seen = seen.borrow_mut();
        seen.turns += world.turns.len();
        seen.resets += world.resets;
        seen.stopped += world.stopped;
        seen.expired += world.expired;
        seen.lingered += world.lingered;
        seen.in_debt += world.schedule.debts.len();
        Ok(())
    });
    let seen = seen.into_inner();
    assert!(seen.turns > 1000 && seen.resets > 100 && seen.stopped > 0 && seen.expired > 10 && seen.in_debt > 0);
    assert!(!seen.lingered.is_zero());
}
