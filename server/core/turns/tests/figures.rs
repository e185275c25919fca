//! The figures of the rule on a card that answers in 5 ms and takes 150 ms for a reset.

use super::world::{Caller, World, caller, ms};
use crate::turns::{quantum::Quantum, schedule::TurnSettings};
use std::{collections::BTreeMap, time::Duration};

const RESET: Duration = ms(150);
const UNIT: Duration = ms(20);
const THIRTY_SECONDS: Duration = ms(30_000);

struct Figures {
    turns: usize,
    median_wait: Duration,
    worst_wait: Duration,
    /// The least time of turns of a user, divided by the greatest.
    evenness: f64,
    of_users: BTreeMap<u8, usize>,
}

fn figures(callers: Vec<Caller>, quantum: Quantum) -> Figures {
    let mut world = World::new(callers, RESET, TurnSettings { quantum, ..TurnSettings::default() }, None);
    world.run(THIRTY_SECONDS).unwrap();
    let mut waits: Vec<_> = world.turns.iter().map(|turn| turn.sent - turn.arrived).collect();
    waits.sort_unstable();
    let mut time = BTreeMap::<u8, Duration>::new();
    let mut of_users = BTreeMap::new();
    for turn in &world.turns {
        let user = world.callers[turn.caller].user;
        *time.entry(user).or_default() += turn.ended - turn.sent;
        *of_users.entry(user).or_default() += 1;
    }
    let (least, most) = (time.values().min().unwrap(), time.values().max().unwrap());
    Figures {
        turns: world.turns.len(),
        median_wait: waits[waits.len() / 2],
        worst_wait: *waits.last().unwrap(),
        evenness: least.as_secs_f64() / most.as_secs_f64(),
        of_users,
    }
}

/// No quantum: each visit is one turn.
const BEFORE: Quantum = Quantum::Fixed(Duration::ZERO);

#[test]
fn four_groups_that_raise_keep_three_fifths_of_the_turns_of_one() {
    let groups: Vec<_> = (0..4).map(|user| caller(user, UNIT)).collect();
    let alone = figures(groups[..1].to_vec(), Quantum::Auto);
    let before = figures(groups.clone(), BEFORE);
    let now = figures(groups, Quantum::Auto);
    let share = |of: &Figures| of.turns as f64 / alone.turns as f64;
    println!("share {:.3}, before {:.3}; evenness {:.3}", share(&now), share(&before), now.evenness);
    println!("median {:?}, before {:?}", now.median_wait, before.median_wait);
    println!("worst {:?}, before {:?}", now.worst_wait, before.worst_wait);
    assert!((0.11..0.13).contains(&share(&before)) && share(&now) >= 0.59);
    assert!(now.median_wait * 10 <= before.median_wait && now.worst_wait <= 2 * before.worst_wait);
    assert!(now.evenness >= 0.9);
}

#[test]
fn a_neutral_user_has_as_much_of_the_card_as_one_that_raises() {
    let neutral = Caller { raises: false, ..caller(0, UNIT) };
    let now = figures(vec![neutral, caller(1, UNIT)], Quantum::Auto);
    println!("evenness {:.3}, turns {:?}", now.evenness, now.of_users);
    assert!(now.evenness >= 0.9);
}

#[test]
fn users_with_one_three_and_nine_processes_share_the_card_evenly() {
    let of = |user: u8, count: u8| (0..count).map(move |group| Caller { group, ..caller(user, UNIT) });
    let callers: Vec<_> = of(0, 1).chain(of(1, 3)).chain(of(2, 9)).collect();
    for raises in [true, false] {
        let callers = callers.iter().map(|caller| Caller { raises, ..caller.clone() }).collect();
        let now = figures(callers, Quantum::Auto);
        println!("raises {raises}: evenness {:.3}, turns {:?}", now.evenness, now.of_users);
        assert!(now.evenness >= 0.9);
    }
}

#[test]
fn one_that_asks_once_a_second_waits_for_a_unit_and_a_reset_beside_one_that_saturates() {
    let rare = Caller { think: ms(1_000), ..caller(0, UNIT) };
    let mut world = World::new(vec![rare, caller(1, UNIT)], RESET, TurnSettings::default(), None);
    world.run(THIRTY_SECONDS).unwrap();
    let worst = world.turns.iter().filter(|turn| turn.caller == 0).map(|turn| turn.sent - turn.arrived).max().unwrap();
    println!("worst {worst:?}, {} turns", world.turns.iter().filter(|turn| turn.caller == 0).count());
    // The other one's visit has long had its quantum: its unit ends, and the reset begins.
    assert!(worst <= UNIT + RESET);
}

#[test]
fn callers_of_one_group_take_turns_as_without_a_quantum() {
    let callers: Vec<_> = (0..8).map(|_| caller(0, UNIT)).collect();
    for quantum in [BEFORE, Quantum::Fixed(ms(225))] {
        let now = figures(callers.clone(), quantum);
        println!("worst {:?}", now.worst_wait);
        assert!(now.worst_wait <= UNIT * 8 * 12 / 10);
    }
}

#[test]
fn two_handles_that_select_have_bursts_instead_of_single_commands() {
    let handle = |user| Caller { kind: crate::turns::request::Kind::Command, rests: true, ..caller(user, ms(5)) };
    let mut world = World::new(vec![handle(0), handle(1)], RESET, TurnSettings::default(), None);
    world.run(THIRTY_SECONDS).unwrap();
    println!("{} turns, {} resets", world.turns.len(), world.resets);
    let changes = world.turns.windows(2).filter(|pair| pair[0].caller != pair[1].caller).count();
    assert!(changes <= 80 && world.turns.len() > 3_000);
}
