//! The queue of a reader by itself: the cost of one turn with a growing number of callers.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use cardbroker_core::turns::queue::{Limits, Queue};

use crate::{
    Effort,
    report::{Cell, Table, progress},
    samples::{Samples, nanoseconds},
};

pub(crate) fn measure(effort: Effort) -> Table {
    progress("queue");
    let turns = effort.choose(200_000, 20_000);
    let row = |callers: u64| {
        let samples: Samples = (0..effort.rounds.max(3)).map(|_| turn(callers, turns)).collect();
        vec![Cell::Count(callers), Cell::Time(samples.median()), Cell::Time(samples.max())]
    };
    Table {
        title: "The queue by itself",
        about: "The cost of a turn in the queue of a reader (the next request is taken out, and its caller sends \
                another) while so many callers wait. Both are O(log n)."
            .into(),
        columns: vec!["callers", "a turn, p50 of the rounds", "a turn, worst round"],
        rows: [1, 10, 100, 1_000, 10_000].map(row).into(),
        targets: Vec::new(),
    }
}

/// The time of one turn, in ns, on average over `turns` of them.
fn turn(callers: u64, turns: u64) -> i64 {
    let limits = Limits { per_caller: 2, per_reader: callers as usize + 1 };
    let mut queue = Queue::new(limits);
    let deadline = Instant::now() + Duration::from_secs(3600);
    let push = |queue: &mut Queue<u64, u64>, ticket, caller| {
        assert!(queue.push(ticket, caller, deadline, caller).is_ok(), "there is room for all");
    };
    (0..callers).for_each(|caller| push(&mut queue, caller, caller));
    let began = Instant::now();
    for ticket in callers..callers + turns {
        if let Some((_, caller)) = black_box(queue.pop()) {
            push(&mut queue, ticket, caller);
        }
    }
    nanoseconds(began.elapsed()) / turns as i64
}
