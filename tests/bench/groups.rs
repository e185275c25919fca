//! Isolation groups on a card with slow resets: what visits with a quantum save, beside a hand-over after each unit,
//! and beside another build of the broker.

use std::path::Path;

use anyhow::Context as _;
use cardbroker_tests::harness::programs::Program;

use crate::{
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage},
    worker::sharer::Share,
};

/// Commands that raise security state, as far as the broker knows.
pub(crate) const RAISING: [&str; 4] = ["8012000004"; 4];
pub(crate) const COMMAND_MS: u64 = 5;
pub(crate) const RESET_MS: u64 = 150;
const GROUPS: u64 = 4;

/// One of the ways that take turns in each round.
struct Way<'a> {
    name: &'static str,
    /// Another build of the broker; `None` for the current one.
    daemon: Option<&'a Path>,
    /// `limits.turn_quantum`; `None` to leave the key out.
    quantum: Option<&'static str>,
    sharing: Sharing,
}

/// How the card was shared, one value for each round.
#[derive(Default)]
struct Sharing {
    /// The ratio of the fewest turns of a group to the most.
    turns: Vec<f64>,
    /// The ratio of the least time of a group on the card to the most.
    card_times: Vec<f64>,
    /// The ratio of all turns to those of one group alone in the same time.
    totals: Vec<f64>,
    waits: Samples,
}

/// Measures the ways. The visits of the last one are compared with the first one: the build at `before`, or else the
/// current one without visits.
pub(crate) async fn measure(effort: Effort, before: Option<&Path>) -> anyhow::Result<Table> {
    let stage = Stage::new(COMMAND_MS, RESET_MS)?;
    let way = |name, daemon, quantum| Way { name, daemon, quantum, sharing: Sharing::default() };
    let mut ways: Vec<_> = before.map(|path| way("before", Some(path), None)).into_iter().collect();
    ways.extend([way("a hand-over after each unit", None, Some("0s")), way("visits", None, Some("auto"))]);
    for round in 1..=effort.rounds {
        for index in order(round, ways.len()) {
            let Way { name, daemon, quantum, sharing } = &mut ways[index];
            progress(&format!("groups: {name}, round {round} of {}", effort.rounds));
            let key = quantum.map(|quantum| format!("limits.turn_quantum = \"{quantum}\"")).unwrap_or_default();
            let mut setup = stage.setup()?.configuration(&key).log_level("info");
            if let Some(path) = daemon {
                setup = setup.daemon(path);
            }
            let mut broker = stage.start(setup).await?;
            let access = Access::unix(&broker.socket());
            let start = || access.client(&[&["sharer", READER], &RAISING[..]].concat());
            sharing.add(&start, effort.choose(15_000, 6_000))?;
            broker.stop()?;
        }
    }
    table(&ways)
}

impl Sharing {
    /// Measures one group alone, then all at once.
    fn add(&mut self, start: &dyn Fn() -> anyhow::Result<Program>, ms: u64) -> anyhow::Result<()> {
        let alone = shares(&mut [start()?], 1_000)?.pop().context("nobody")?.units;
        let rate_alone = alone.len() as f64 / (alone.iter().map(|unit| unit.time).sum::<i64>() as f64 / 1e6);
        let mut programs = (0..GROUPS).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
        let shares = shares(&mut programs, ms)?;
        let turns: Vec<_> = shares.iter().map(|share| share.within(ms).count() as f64).collect();
        let card_times: Vec<_> = shares.iter().map(|share| share.card_time(ms)).collect();
        self.turns.push(least_to_most(&turns));
        self.card_times.push(least_to_most(&card_times));
        self.totals.push(turns.iter().sum::<f64>() / ms as f64 / rate_alone);
        self.waits.add(shares.iter().flat_map(|share| &share.units).map(|unit| unit.time));
        Ok(())
    }
}

/// Has all processes share the card for `ms`.
pub(crate) fn shares(programs: &mut [Program], ms: u64) -> anyhow::Result<Vec<Share>> {
    programs.iter_mut().try_for_each(|program| program.say(&format!("for {ms}")))?;
    programs.iter_mut().map(Share::of).collect()
}

/// The ratio of the least to the most.
pub(crate) fn least_to_most(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    least / values.iter().copied().fold(0.0, f64::max)
}

fn table(ways: &[Way<'_>]) -> anyhow::Result<Table> {
    let row = |Way { name, sharing, .. }: &Way<'_>| {
        let ratios = [&sharing.turns, &sharing.card_times, &sharing.totals].map(|values| Spread::of(values));
        let times = [0.5, 0.95, 0.99, 1.0].map(|share| Cell::Time(sharing.waits.quantile(share)));
        std::iter::once(Cell::text(*name)).chain(ratios.map(Cell::Ratio)).chain(times).collect()
    };
    let (Some(Way { daemon, sharing: before, .. }), Some(Way { sharing: visits, .. })) = (ways.first(), ways.last())
    else {
        anyhow::bail!("nothing was measured");
    };
    let ratio = |of: fn(&Samples) -> i64| of(&visits.waits) as f64 / of(&before.waits) as f64;
    let compared = if daemon.is_some() { "before" } else { "without visits" };
    let targets = vec![
        Target::new("groups: all : alone", Limit::AtLeast(0.5), Spread::of(&visits.totals)),
        Target::new("groups: fewest : most turns", Limit::AtLeast(0.9), Spread::of(&visits.turns)),
        Target::new("groups: least : most card time", Limit::AtLeast(0.9), Spread::of(&visits.card_times)),
        Target::new(format!("groups: median wait : {compared}"), Limit::AtMost(0.1), ratio(Samples::median)),
        Target::new(format!("groups: worst wait : {compared}"), Limit::AtMost(2.0), ratio(Samples::max)),
    ];
    let other = daemon.map(|_| " The way \"before\" is another build of the broker.").unwrap_or_default();
    Ok(Table {
        title: "Groups",
        about: format!(
            "{GROUPS} client processes, each an isolation group of its own, run units of 4 commands that raise \
             security state as fast as they can, on a card whose commands take {COMMAND_MS} ms and whose resets take \
             {RESET_MS} ms. All ways take turns in each round; `limits.turn_quantum` is 0 for a hand-over after each \
             unit and auto for visits.{other} The ratios: the fewest turns of a group to the most; the least time of \
             a group on the card, with resets, to the most; turns of all to those of one group alone. The times are \
             those of a unit, with its wait."
        ),
        columns: vec!["way", "fewest : most", "card time", "all : alone", "p50", "p95", "p99", "max"],
        rows: ways.iter().map(row).collect(),
        targets,
    })
}
