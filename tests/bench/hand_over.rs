//! Hand-over of the card between processes: after the holder ends its turn, and after the holder is killed.

use std::{thread, time::Duration};

use anyhow::ensure;
use cardbroker_tests::harness::programs::Program;

use crate::{
    clock,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Rounds, Samples},
    stage::{Access, READER, Stage, moment, times},
};

/// For the end of a session, in ns.
const END_LIMIT: f64 = 2e6;
const KILL_LIMIT: f64 = 5e6;

/// Waiters on PC/SC poll every 100 ms: the holder leaves at a random moment of that interval, and not before it began.
const POLLS_MS: std::ops::Range<u64> = 100..300;

#[derive(Clone, Copy)]
pub(crate) struct Way {
    name: &'static str,
    arguments: &'static [&'static str],
    by_broker: bool,
    kills: bool,
    limit: Option<f64>,
}

/// From the end of a transaction to the next, by PC/SC.
pub(crate) const TRANSACTION_ENDS: Way =
    Way { name: "PC/SC: transaction ends", arguments: &[], by_broker: false, kills: false, limit: None };

const WAYS: [Way; 5] = [
    Way {
        name: "session ends, the card is left",
        arguments: &["--leave"],
        by_broker: true,
        kills: false,
        limit: Some(END_LIMIT),
    },
    Way {
        name: "session ends, the card is reset",
        arguments: &[],
        by_broker: true,
        kills: false,
        limit: Some(END_LIMIT),
    },
    Way {
        name: "holder of a session killed, the card is reset",
        arguments: &[],
        by_broker: true,
        kills: true,
        limit: Some(KILL_LIMIT),
    },
    TRANSACTION_ENDS,
    Way { name: "PC/SC: holder of a transaction killed", arguments: &[], by_broker: false, kills: true, limit: None },
];

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let mut series: [Rounds; WAYS.len()] = Default::default();
    let mut resets = Samples::default();
    let reader = stage.reader_name();
    for round in 1..=effort.rounds {
        progress(&format!("hand-over, round {round} of {}", effort.rounds));
        for by_broker in order(round, 2).map(|turn| turn == 1) {
            let mut broker = if by_broker { Some(stage.broker(None).await?) } else { None };
            let access = broker.as_ref().map(|broker| Access::unix(&broker.socket()).in_group("bench"));
            if !by_broker {
                let order = format!("times {}", effort.choose(50, 5));
                resets.add(times(&mut stage.direct(&["units", "reset", &reader])?, &order)?);
            }
            for index in order(round, WAYS.len()).filter(|index| WAYS[*index].by_broker == by_broker) {
                let way = WAYS[index];
                let start = || match &access {
                    Some(access) => access.client(&[&["holder", "session", READER], way.arguments].concat()),
                    None => stage.direct(&["holder", "transaction", &reader]),
                };
                let count = if by_broker { effort.choose(50, 5) } else { effort.choose(10, 2) };
                series[index].add(hand_overs(way, &start, count)?);
            }
            if let Some(broker) = &mut broker {
                broker.stop()?;
            }
        }
    }
    Ok(table(&series, &resets))
}

/// From the moment before the holder leaves, or is killed, to the moment after the waiter has the card.
pub(crate) fn hand_overs(
    way: Way,
    start: &dyn Fn() -> anyhow::Result<Program>,
    count: u32,
) -> anyhow::Result<Vec<i64>> {
    let mut times = Vec::new();
    let (mut holder, mut waiter) = (start()?, start()?);
    take(&mut holder)?;
    for _ in 0..count {
        waiter.say("take")?;
        ensure!(waiter.line()? == "waiting");
        if !way.by_broker {
            thread::sleep(Duration::from_millis(fastrand::u64(POLLS_MS)));
        }
        if way.kills {
            let killed = clock::now();
            drop(holder);
            times.push(moment(&mut waiter, "taken")? - killed);
            if way.by_broker {
                holder = start()?;
            } else {
                // During a transaction not even a connection is possible.
                waiter.say("leave")?;
                moment(&mut waiter, "left")?;
                holder = start()?;
                take(&mut waiter)?;
            }
        } else {
            holder.say("leave")?;
            let left = moment(&mut holder, "left")?;
            times.push(moment(&mut waiter, "taken")? - left);
        }
        std::mem::swap(&mut holder, &mut waiter);
    }
    Ok(times)
}

/// Takes a card that nobody holds.
fn take(program: &mut Program) -> anyhow::Result<()> {
    program.say("take")?;
    let mut line = program.line()?;
    // The broker may still be resetting the card.
    if line == "waiting" {
        line = program.line()?;
    }
    ensure!(line.starts_with("taken "), "{line}");
    Ok(())
}

fn table(series: &[Rounds], resets: &Samples) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (way, times) in WAYS.iter().zip(series) {
        rows.push(Cell::row(way.name, times.all()));
        if let Some(limit) = way.limit {
            targets.push(Target::new(format!("{}: p99", way.name), Limit::Within(limit), times.p99()));
        }
    }
    rows.push(Cell::row("PC/SC: the card is reset, and nothing else", resets));
    Table {
        title: "Hand-over",
        about: "From the moment at which the holder begins to release the card, or is killed, to the moment at which \
                a waiting process holds it. All are in one isolation group. The last row is a reset of this card by \
                itself; a real card's takes 50–400 ms."
            .into(),
        columns: vec!["what happens", "times", "p50", "p99", "max"],
        rows,
        targets,
    }
}
