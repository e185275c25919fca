//! Tests of the order of requests in the rounds, and of the estimate of turns before a request.

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

use super::world::{Caller, World, caller, ms};
use crate::{
    properties::{holds, is_broken},
    turns::{
        request::{Kind, Request},
        rounds::Rounds,
        schedule::TurnSettings,
    },
};

type Queue = Rounds<char, &'static str, &'static str>;

/// A request of `caller`, whose first letter is its user. Each caller is a group of its own.
fn request(number: u64, caller: &'static str, start: Instant) -> Request<char, &'static str, &'static str> {
    let user = caller.chars().next().unwrap();
    let deadline = start + Duration::from_secs(number);
    let (group, kind, arrived) = (caller, Kind::Unit, deadline);
    Request { number, user, caller, group, kind, demands_reset: false, share: 1, arrived, deadline }
}

fn queue(callers: &[&'static str]) -> (Queue, Instant) {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for (number, caller) in (1..).zip(callers) {
        queue.push(request(number, caller, start));
    }
    (queue, start)
}

fn serve<U: crate::turns::request::Id, C: crate::turns::request::Id, G: crate::turns::request::Id>(
    queue: &mut Rounds<U, C, G>,
) -> Option<u64> {
    queue.end_turn();
    let number = queue.peek(None)?;
    queue.take(number, true).map(|request| request.number)
}

fn drain(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| serve(queue)).collect()
}

#[test]
fn rounds_go_by_user_cycles_by_caller_and_requests_in_order() {
    let (mut queue, _) = queue(&["a1", "a1", "a2", "a2", "b1", "b1", "b1", "c1"]);
    assert_eq!(drain(&mut queue), [1, 5, 8, 3, 6, 2, 7, 4]);
    assert!(queue.is_empty() && queue.next_deadline().is_none());
}

#[test]
fn a_user_with_many_callers_gets_no_more_turns_than_one_with_one() {
    let (mut queue, _) = queue(&["a1", "a2", "a3", "a4", "b1", "b1", "b1"]);
    assert_eq!(drain(&mut queue), [1, 5, 2, 6, 3, 7, 4]);
}

#[test]
fn a_caller_that_comes_back_joins_the_next_cycle() {
    let (mut queue, start) = queue(&["a1", "a2", "a3"]);
    assert_eq!(serve(&mut queue), Some(1));
    queue.push(request(4, "a1", start));
    queue.push(request(5, "a4", start));
    // The one that is new joined before the one with the turn could.
    assert_eq!(drain(&mut queue), [2, 3, 5, 4]);
}

#[test]
fn a_user_that_pipelines_does_not_overtake_one_that_asks_again_after_its_turn() {
    let (mut queue, start) = queue(&["a1", "a1", "a1", "b1"]);
    assert_eq!([serve(&mut queue), serve(&mut queue), serve(&mut queue)], [Some(1), Some(4), Some(2)]);
    queue.push(request(5, "b1", start));
    assert_eq!((queue.turns_ahead_of("b1"), queue.turns_ahead_of("a1")), (vec![(5, 0)], vec![(3, 1)]));
    assert_eq!(drain(&mut queue), [5, 3]);
}

#[test]
fn a_caller_whose_group_holds_the_card_comes_first_in_its_cycle() {
    let (mut queue, start) = queue(&["a1", "a2", "a3"]);
    assert_eq!(queue.peek(Some("a3")).and_then(|number| queue.take(number, true)).map(|of| of.number), Some(3));
    queue.push(request(4, "a3", start));
    queue.end_turn();
    // Its next cycle has not begun.
    assert_eq!(queue.peek(Some("a3")), Some(1));
    assert_eq!(drain(&mut queue), [1, 2, 4]);
}

#[test]
fn a_share_gives_a_user_more_visits_in_each_round() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for (number, caller) in (1..).zip(["g1", "g2", "g3", "g4", "g5", "a1", "a1"]) {
        let share = if caller.starts_with('g') { 2 } else { 0 };
        queue.push(Request { share, ..request(number, caller, start) });
    }
    assert_eq!(queue.in_order(), [1, 2, 6, 3, 4, 7, 5]);
    assert_eq!(drain(&mut queue), [1, 2, 6, 3, 4, 7, 5]);
}

#[test]
fn what_was_removed_is_neither_served_nor_counted() {
    let (mut queue, start) = queue(&["a1", "b1", "a1", "c1"]);
    assert_eq!(queue.remove(1).map(|request| request.caller), Some("a1"));
    assert!(queue.remove(1).is_none());
    assert_eq!(queue.pop_expired(start + Duration::from_secs(2)).map(|request| request.number), Some(2));
    assert!(queue.pop_expired(start + Duration::from_secs(2)).is_none());
    assert_eq!((queue.len(), queue.waiting_callers(), queue.users.len()), (2, 2, 2));
    assert_eq!(drain(&mut queue), [3, 4]);
    queue.end_turn();
    assert_eq!((queue.waiting_callers(), queue.callers.len()), (0, 0));
}

#[test]
fn only_callers_of_other_groups_count_as_others() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for (number, caller, group) in [(1, "a1", "x"), (2, "a2", "x"), (3, "a3", "y"), (4, "b1", "z"), (5, "b2", "z")] {
        queue.push(Request { group, ..request(number, caller, start) });
    }
    queue.take(1, true);
    assert_eq!((queue.others('a', "x"), queue.others('b', "z")), ((3, 2), (2, 1)));
    queue.remove(3);
    assert_eq!((queue.others('a', "x"), queue.is_another_user_waiting('a')), ((2, 1), true));
    queue.remove(4);
    queue.remove(5);
    assert_eq!((queue.others('a', "x"), queue.is_another_user_waiting('a')), ((0, 0), false));
}

#[test]
fn a_caller_counts_for_the_group_of_its_oldest_request() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for (number, group) in [(1, "x"), (2, "y"), (3, "z")] {
        queue.push(Request { group, ..request(number, "a1", start) });
    }
    assert_eq!((queue.peek_group('a', "x"), queue.peek_group('a', "y")), (Some(1), None));
    queue.remove(1);
    assert_eq!((queue.peek_group('a', "x"), queue.peek_group('a', "y")), (None, Some(2)));
    queue.take(2, true);
    queue.end_turn();
    assert_eq!((queue.peek_group('a', "y"), queue.peek_group('a', "z")), (None, Some(3)));
}

/// An event of a queue: a request of a user's caller with a share, a turn, or the removal of a request.
#[derive(Debug, Clone)]
enum Step {
    Ask(u8, u8, u32),
    Serve,
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4u8, 0..4u8).prop_map(|(user, caller)| Step::Ask(user, caller, u32::from(user / 3) * 2 + 1)),
        3 => Just(Step::Serve),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Leave(index.index(16))),
    ];
    vec(step, 1..60)
}

fn estimates(steps: Vec<Step>, error: usize) -> TestCaseResult {
    let (mut queue, deadline, mut number) = (Rounds::<u8, u8, u8>::default(), Instant::now(), 0);
    let kind = Kind::Unit;
    for step in steps {
        match step {
            Step::Ask(user, caller, share) => {
                number += 1;
                let caller = user * 10 + caller;
                let group = caller;
                let arrived = deadline;
                queue.push(Request {
                    number,
                    user,
                    caller,
                    group,
                    kind,
                    demands_reset: false,
                    share,
                    arrived,
                    deadline,
                });
            }
            Step::Serve => drop(serve(&mut queue)),
            Step::Leave(index) => {
                let waiting = queue.in_order();
                waiting.get(index).map(|&number| queue.remove(number));
            }
        }
        let (order, mut copy) = (queue.in_order(), queue.clone());
        let served: Vec<_> = std::iter::from_fn(|| serve(&mut copy)).collect();
        prop_assert_eq!(&order, &served, "the order is another one");
        for caller in queue.callers.keys() {
            for (number, ahead) in queue.turns_ahead_of(*caller) {
                prop_assert_eq!(served.get(ahead + error), Some(&number), "the estimate is wrong");
            }
        }
        copy.end_turn();
        prop_assert!(copy.callers.is_empty() && copy.users.len() <= 1 && copy.ring.is_empty(), "something is left");
    }
    Ok(())
}

#[test]
fn the_estimate_is_exact_where_every_visit_is_one_turn() {
    holds(300, steps(), |steps| estimates(steps, 0));
    is_broken(300, steps(), |steps| estimates(steps, 1), "off by one", "the estimate is wrong");
}

/// Checks the estimate for a queue without new requests, in visits with a quantum of `reset`: each request has at most
/// `2 (ahead + 1) · turns of a visit` turns before it.
fn error_of_estimate(asking: Vec<(u8, u8, u64)>, reset: u64) -> TestCaseResult {
    let of = |(user, depth, length): (u8, u8, u64)| {
        let (depth, count) = (usize::from(depth), usize::from(depth));
        Caller { depth, count, ..caller(user, ms(length)) }
    };
    let callers: Vec<_> = asking.into_iter().map(of).collect();
    let settings =
        TurnSettings { quantum: crate::turns::quantum::Quantum::Fixed(ms(reset)), ..TurnSettings::default() };
    let shortest = callers.iter().map(|caller| caller.length).min().unwrap_or(ms(1));
    let per_visit = usize::try_from(reset / shortest.as_millis() as u64).unwrap() + 1;
    let mut world = World::new(callers, ms(reset), settings, None);
    let mut told = Vec::new();
    world.run(Duration::ZERO)?;
    for index in 0..world.callers.len() {
        told.extend(world.schedule.rounds().turns_ahead_of(index).into_iter().map(|(_, ahead)| (index, ahead)));
    }
    world.run(ms(1_000_000))?;
    let mut turns: Vec<usize> = world.turns.iter().skip(1).map(|turn| turn.caller).collect();
    for (index, ahead) in told {
        let came = turns.iter().position(|caller| *caller == index).unwrap_or(usize::MAX);
        prop_assert!(came <= 2 * (ahead + 1) * per_visit, "{came} turns came first, {ahead} were told");
        // The search for the caller's next turn begins after this one.
        if let Some(turn) = turns.get_mut(came) {
            *turn = usize::MAX;
        }
    }
    Ok(())
}

#[test]
fn the_estimate_is_off_by_the_turns_of_a_visit_at_most() {
    let asking = vec((0..3u8, 1..6u8, 1..30u64), 1..7);
    holds(200, (asking, 0..200u64), |(asking, reset)| error_of_estimate(asking, reset));
}
