//! Isolation groups on a card with slow resets: what visits with a quantum save, beside a hand-over after each unit.

use anyhow::Context as _;
use cardbroker_tests::harness::programs::Program;

use crate::{
    Effort,
    report::{Cell, Limit, Table, Target, progress},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage, times},
    together::within,
};

/// Commands that raise security state, as far as the broker knows.
const RAISING: [&str; 4] = ["8012000004"; 4];
const GROUPS: u64 = 4;
const COMMAND_MS: u64 = 5;
const RESET_MS: u64 = 150;

/// The ways that take turns in each round: `limits.turn_quantum`, and its name in the table.
const WAYS: [(&str, &str); 2] = [("0s", "a hand-over after each unit"), ("auto", "visits")];

/// How the card was shared, one value for each round.
#[derive(Default)]
struct Sharing {
    /// The ratio of the fewest turns of a group to the most.
    shares: Vec<f64>,
    /// The ratio of all turns to those of one group alone in the same time.
    totals: Vec<f64>,
    waits: Samples,
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(COMMAND_MS, RESET_MS)?;
    let mut ways = WAYS.map(|_| Sharing::default());
    for round in 1..=effort.rounds {
        for ((quantum, name), sharing) in WAYS.iter().zip(&mut ways) {
            progress(&format!("groups: {name}, round {round} of {}", effort.rounds));
            let mut broker = stage.broker_with(&format!("limits.turn_quantum = \"{quantum}\"")).await?;
            let access = Access::unix(&broker.socket());
            let start = || access.client(&[&["units", "transmit", READER], &RAISING[..]].concat());
            sharing.add(&start, effort.choose(30_000, 6_000))?;
            broker.stop()?;
        }
    }
    Ok(table(&ways))
}

impl Sharing {
    /// Measures one group alone, then all at once.
    fn add(&mut self, start: &dyn Fn() -> anyhow::Result<Program>, ms: u64) -> anyhow::Result<()> {
        let alone = times(&mut start()?, "for 1000")?;
        let rate_alone = alone.len() as f64 / (alone.iter().sum::<i64>() as f64 / 1e6);
        let mut programs = (0..GROUPS).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
        for program in &mut programs {
            program.say(&format!("for {ms}"))?;
        }
        let mut turns = Vec::new();
        for program in &mut programs {
            let times: Vec<i64> = serde_json::from_str(&program.line()?)?;
            turns.push(within(&times, ms));
            self.waits.add(times);
        }
        let (fewest, most) = (turns.iter().min().context("nobody")?, turns.iter().max().context("nobody")?);
        self.shares.push(*fewest as f64 / *most as f64);
        self.totals.push(turns.iter().sum::<usize>() as f64 / ms as f64 / rate_alone);
        Ok(())
    }
}

fn table(ways: &[Sharing; 2]) -> Table {
    let row = |((_, name), sharing): (&(&str, &str), &Sharing)| {
        let [p95, p99] = [0.95, 0.99].map(|share| Cell::Time(sharing.waits.quantile(share)));
        vec![
            Cell::text(*name),
            Cell::Ratio(Spread::of(&sharing.shares)),
            Cell::Ratio(Spread::of(&sharing.totals)),
            Cell::Time(sharing.waits.median()),
            p95,
            p99,
            Cell::Time(sharing.waits.max()),
        ]
    };
    let [before, visits] = ways;
    let ratio = |of: fn(&Samples) -> i64| of(&visits.waits) as f64 / of(&before.waits) as f64;
    let targets = vec![
        Target::new("groups: all : alone", Limit::AtLeast(0.5), Spread::of(&visits.totals).median),
        Target::new("groups: fewest : most turns", Limit::AtLeast(0.9), Spread::of(&visits.shares).median),
        Target::new("groups: median wait : without visits", Limit::AtMost(0.1), ratio(Samples::median)),
        Target::new("groups: worst wait : without visits", Limit::AtMost(2.0), ratio(Samples::max)),
    ];
    Table {
        title: "Groups",
        about: format!(
            "{GROUPS} client processes, each an isolation group of its own, run units of 4 commands that raise \
             security state as fast as they can, on a card whose commands take {COMMAND_MS} ms and whose resets take \
             {RESET_MS} ms. Both ways take turns in each round; `limits.turn_quantum` is 0 for the first and auto for \
             the second. The ratios: the fewest turns of a group to the most; turns of all to those of one group \
             alone. The times are those of a unit, with its wait."
        ),
        columns: vec!["way", "fewest : most", "all : alone", "p50", "p95", "p99", "max"],
        rows: WAYS.iter().zip(ways).map(row).collect(),
        targets,
    }
}
