//! Single decisions of the schedule, one scenario in each test.

use std::time::{Duration, Instant};

use super::world::ms;
use crate::turns::{
    quantum::{MAX_LINGER, Quantum},
    request::{Kind, Request},
    schedule::{Decision, Schedule, TurnSettings},
    turn::Left,
};

const RESET: Duration = ms(150);
const RAISED: Left = Left { raised: true, rests: false, is_pair_open: false };
const CLEAN: Left = Left { raised: false, rests: false, is_pair_open: false };
const RESTS: Left = Left { raised: false, rests: true, is_pair_open: false };

/// A reader whose resets take 150 ms. A caller's first letter is its user. Each caller is a group of its own.
struct Reader {
    schedule: Schedule<char, &'static str, &'static str>,
    now: Instant,
    number: u64,
}

impl Reader {
    fn new() -> Self {
        let mut schedule = Schedule::new(TurnSettings { quantum: Quantum::Fixed(ms(200)), ..TurnSettings::default() });
        let now = Instant::now();
        schedule.on_reset(Some(RESET), now);
        Self { schedule, now, number: 0 }
    }

    fn ask(&mut self, caller: &'static str) -> u64 {
        self.ask_as(caller, |request| request)
    }

    fn ask_as(
        &mut self,
        caller: &'static str,
        change: impl Fn(Request<char, &'static str, &'static str>) -> Request<char, &'static str, &'static str>,
    ) -> u64 {
        self.number += 1;
        let request = Request {
            number: self.number,
            user: caller.chars().next().unwrap(),
            caller,
            group: caller,
            kind: Kind::Unit,
            demands_reset: false,
            share: 1,
            arrived: self.now,
            deadline: self.now + Duration::from_secs(3600),
        };
        self.schedule.push(change(request), self.now);
        self.number
    }

    /// Removes all requests of a caller.
    fn leave(&mut self, caller: &'static str) {
        while let Some(number) = self.schedule.rounds().oldest_of(caller) {
            self.schedule.remove(number, self.now);
        }
    }

    fn decide(&mut self) -> Decision {
        self.schedule.next(self.now)
    }

    /// Runs the next turn, with its reset. The turn takes `length` and leaves the card in the state `left`.
    fn turn(&mut self, length: Duration, left: Left) -> (u64, bool) {
        let Decision::Start { number, reset, .. } = self.decide() else { panic!("no turn") };
        self.schedule.on_turn_began(number, self.now);
        if reset {
            self.now += RESET;
            self.schedule.on_reset(Some(RESET), self.now);
        }
        self.now += length;
        self.schedule.on_turn_ended(left, self.now);
        (number, reset)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn start(number: u64, reset: bool) -> Decision {
    Decision::Start { number, reset, continues: false }
}

#[test]
fn a_visit_goes_on_within_the_quantum_where_a_reset_is_saved() {
    let mut reader = Reader::new();
    for caller in ["a1", "a1", "a1", "b1"] {
        reader.ask(caller);
    }
    assert_eq!(reader.turn(ms(100), RAISED), (1, false));
    assert_eq!(reader.turn(ms(100), RAISED), (2, false));
    assert_eq!(reader.decide(), start(4, true), "the quantum is over, and the reset begins at once");
}

#[test]
fn a_released_caller_comes_after_all_that_wait() {
    for is_released in [true, false] {
        let mut reader = Reader::new();
        for caller in ["a1", "a1", "a2", "b1"] {
            reader.ask_as(caller, |request| Request { share: 5, ..request });
        }
        assert_eq!(reader.turn(ms(10), RAISED), (1, false));
        if is_released {
            reader.schedule.on_released();
        }
        assert_eq!(reader.decide(), if is_released { start(4, true) } else { start(2, false) });
    }
}

#[test]
fn a_visit_that_saves_nothing_is_one_turn() {
    let mut reader = Reader::new();
    for caller in ["a1", "a1", "b1"] {
        reader.ask(caller);
    }
    assert_eq!(reader.turn(ms(10), CLEAN), (1, false));
    assert_eq!(reader.decide(), start(3, false));
}

#[test]
fn the_card_lingers_for_a_caller_that_comes_back_and_no_longer() {
    let mut reader = Reader::new();
    reader.ask("a1");
    reader.ask("b1");
    reader.turn(ms(10), RAISED);
    let end = reader.now + MAX_LINGER;
    assert_eq!(reader.decide(), Decision::Linger(end));
    reader.pass(ms(1));
    let again = reader.ask("a1");
    assert_eq!(reader.turn(ms(10), RAISED), (again, false));
    reader.pass(MAX_LINGER);
    assert_eq!(reader.decide(), start(2, true));
}

#[test]
fn the_card_does_not_linger_past_a_request_that_waits_for_no_time() {
    let mut reader = Reader::new();
    reader.ask("a1");
    reader.turn(ms(10), RAISED);
    assert_eq!(reader.decide(), Decision::Idle);
    let now = reader.now;
    let hasty = reader.ask_as("b1", |request| Request { deadline: now, ..request });
    assert_eq!(reader.decide(), start(hasty, true));
}

#[test]
fn a_session_takes_no_part_in_a_visit_while_another_user_waits() {
    let mut reader = Reader::new();
    reader.ask("a1");
    let session = reader.ask_as("a1", |request| Request { kind: Kind::Session, ..request });
    let other = reader.ask("b1");
    reader.turn(ms(10), RAISED);
    assert_eq!(reader.decide(), start(other, true));
    reader.schedule.remove(other, reader.now);
    assert_eq!(reader.decide(), start(session, false));
}

#[test]
fn a_failed_condition_neither_ends_nor_extends_the_visit() {
    let mut reader = Reader::new();
    for caller in ["a1", "a1", "a1", "b1"] {
        reader.ask(caller);
    }
    reader.turn(ms(50), RAISED);
    assert_eq!(reader.decide(), start(2, false));
    reader.schedule.remove(2, reader.now);
    assert_eq!(reader.decide(), start(3, false));
}

#[test]
fn a_group_that_has_ended_leaves_a_reset_and_no_visit() {
    let mut reader = Reader::new();
    reader.ask("a1");
    reader.ask("b1");
    let Decision::Start { number, .. } = reader.decide() else { panic!("no turn") };
    reader.schedule.on_turn_began(number, reader.now);
    reader.schedule.on_group_ended("a1");
    reader.schedule.on_turn_ended(RAISED, reader.now);
    assert_eq!(reader.decide(), Decision::Reset);
    reader.pass(RESET);
    reader.schedule.on_reset(Some(RESET), reader.now);
    assert_eq!(reader.decide(), start(2, false));
}

#[test]
fn a_debt_of_a_quantum_costs_one_visit_and_absence_pays_it() {
    let mut reader = Reader::new();
    for caller in ["a1", "a1", "a1", "b1", "b1", "b1"] {
        reader.ask(caller);
    }
    let turns: Vec<_> = (0..5).map(|turn| reader.turn(ms(if turn == 0 { 400 } else { 90 }), RAISED).0).collect();
    // After one visit of 400 ms the other user has its visit, and the one that was left out.
    assert_eq!(turns, [1, 4, 5, 6, 2]);
    let mut reader = Reader::new();
    reader.ask("a1");
    reader.turn(ms(400), RAISED);
    reader.ask("b1");
    reader.pass(MAX_LINGER);
    reader.turn(ms(300), RAISED);
    reader.ask("a1");
    let other = reader.ask("b1");
    reader.pass(ms(300));
    assert_ne!(reader.decide(), start(other, false));
}

#[test]
fn a_handle_rests_and_its_turn_goes_on_until_another_begins() {
    let mut reader = Reader::new();
    let command = |request| Request { kind: Kind::Command, ..request };
    reader.ask_as("a1", command);
    reader.turn(ms(5), RESTS);
    assert_eq!(reader.decide(), Decision::Idle);
    reader.pass(ms(100));
    let next = reader.ask_as("a1", command);
    let waits = reader.ask("a2");
    assert_eq!(reader.decide(), Decision::Start { number: next, reset: false, continues: true });
    reader.turn(ms(5), RESTS);
    assert_eq!(reader.decide(), Decision::Linger(reader.now + MAX_LINGER));
    reader.pass(MAX_LINGER);
    assert_eq!(reader.decide(), start(waits, false));
}

#[test]
fn an_open_pair_holds_the_card_for_a_hundred_milliseconds() {
    let mut reader = Reader::new();
    reader.ask_as("a1", |request| Request { kind: Kind::Command, ..request });
    reader.ask("b1");
    reader.turn(ms(300), Left { is_pair_open: true, ..RESTS });
    let end = reader.now + ms(100);
    assert_eq!(reader.decide(), Decision::Linger(end));
    reader.pass(ms(99));
    let fetch = reader.ask_as("a1", |request| Request { kind: Kind::Command, ..request });
    assert_eq!(reader.decide(), Decision::Start { number: fetch, reset: false, continues: true });
    reader.turn(ms(5), RESTS);
    assert_eq!(reader.decide(), start(2, false));
}

#[test]
fn a_unit_is_stopped_once_and_only_while_another_group_waits() {
    let mut reader = Reader::new();
    let group = |request| Request { group: "a", ..request };
    let number = reader.ask_as("a1", group);
    reader.schedule.on_turn_began(number, reader.now);
    reader.ask_as("a2", group);
    assert_eq!(reader.decide(), Decision::Busy(None));
    reader.pass(ms(60_000));
    reader.ask("b1");
    let end = reader.now + ms(10_000);
    assert_eq!(reader.decide(), Decision::Busy(Some(end)));
    for caller in ["c1", "d1", "e1"] {
        reader.ask(caller);
    }
    assert_eq!(reader.decide(), Decision::Busy(Some(end - ms(5_000))));
    reader.pass(ms(5_000));
    assert_eq!([reader.decide(), reader.decide()], [Decision::Stop; 2]);
    for caller in ["b1", "c1", "d1", "e1"] {
        reader.leave(caller);
    }
    assert_eq!(reader.decide(), Decision::Busy(None), "the stop is withdrawn with the waiters");
}

#[test]
fn the_card_does_not_linger_after_a_session_while_another_user_waits() {
    let mut reader = Reader::new();
    reader.ask_as("a1", |request| Request { kind: Kind::Session, ..request });
    let other = reader.ask("b1");
    reader.turn(ms(10), RAISED);
    assert_eq!(reader.decide(), start(other, true));
}

#[test]
fn nothing_begins_while_the_broker_stops() {
    let mut reader = Reader::new();
    reader.ask("a1");
    reader.schedule.on_stopping();
    assert_eq!(reader.decide(), Decision::Idle);
}
