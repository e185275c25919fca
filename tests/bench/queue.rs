//! The rule of turns of a reader by itself: the cost of one turn with a growing number of callers.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use cardbroker_core::turns::{
    request::{Kind, Request},
    schedule::{Decision, Schedule, TurnSettings},
    turn::Left,
};

use crate::{
    report::{Cell, Table, progress},
    rounds::{Effort, order},
    samples::{Samples, nanoseconds},
};

/// How many wait, each of its own user.
const CALLERS: [u64; 5] = [1, 10, 100, 1_000, 10_000];

pub(crate) fn measure(effort: Effort) -> Table {
    progress("queue");
    let turns = effort.choose(200_000, 20_000);
    let mut series = CALLERS.map(|callers| (callers, Samples::default()));
    for round in 1..=effort.rounds.max(3) {
        for index in order(round, series.len()) {
            let (callers, samples) = &mut series[index];
            samples.add([turn(*callers, turns)]);
        }
    }
    let row = |(callers, samples): (u64, Samples)| {
        vec![Cell::Count(callers), Cell::Time(samples.median()), Cell::Time(samples.max())]
    };
    Table {
        title: "The rule of turns by itself",
        about: "The cost of a turn in the schedule of a reader (the next request begins and ends its turn, and its \
                caller sends another) while so many callers wait, each of its own user. All steps are O(log n)."
            .into(),
        columns: vec!["callers", "a turn, p50 of the rounds", "a turn, worst round"],
        rows: series.map(row).into(),
        targets: Vec::new(),
    }
}

/// The time of one turn, in ns, on average over `turns` of them.
fn turn(callers: u64, turns: u64) -> i64 {
    let now = Instant::now();
    let mut schedule = Schedule::new(TurnSettings::default());
    let request = |number, caller| Request {
        number,
        user: caller,
        caller,
        group: caller,
        kind: Kind::Unit,
        demands_reset: false,
        arrived: now,
        share: 1,
        deadline: now + Duration::from_secs(3600),
    };
    (0..callers).for_each(|caller| schedule.push(request(caller, caller), now));
    let began = Instant::now();
    for next in callers..callers + turns {
        if let Decision::Start { number, .. } = black_box(schedule.next(now))
            && let Some(caller) = schedule.rounds().get(number).map(|request| request.caller)
        {
            schedule.on_turn_began(number, now);
            schedule.on_turn_ended(Left::default(), now);
            schedule.push(request(next, caller), now);
        }
    }
    nanoseconds(began.elapsed()) / turns as i64
}
