//! Many clients on one card at once: the number of their turns, their waiting times, and the cost of sharing.

use anyhow::Context as _;
use cardbroker_tests::harness::programs::Program;

use crate::{
    alone::READ_RECORD,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage, times},
};

const UNIT: [&str; 4] = [READ_RECORD; 4];

const LEAST_SHARE: f64 = 0.9;
const WORST_WAIT: f64 = 1.2;
const LEAST_TOTAL: f64 = 0.95;
/// On a card that answers at once the processor is the bottleneck, and with it the machine's noise.
const INSTANT_WORST_WAIT: f64 = 2.0;
const INSTANT_CLIENTS: u64 = 8;
/// From this duration of a command on, the card and not the processor is the bottleneck.
const SLOW_CARD_MS: u64 = 5;

/// The target number of turns of each client in a round: fewer would say little about fairness.
const TURNS: u64 = 10;
/// The minimum duration of a round; also the maximum of direct ones, which show their effect at once.
const SHORTEST_MS: u64 = 1_000;
const DIRECT_MS: u64 = 3_000;

/// The clients that share the card.
pub(crate) struct Crowd {
    name: String,
    clients: u64,
    /// The card's time for a unit, in ms.
    unit_ms: u64,
    slow_card: bool,
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let mut series = Vec::new();
    for command_ms in effort.choose(&[0, 5, 20][..], &[5]) {
        let stage = Stage::new(*command_ms, 0)?;
        for clients in effort.choose(&[2, 8, 32][..], &[8]) {
            let name = format!("{clients} × card of {command_ms} ms");
            let (unit_ms, slow_card) = (4 * command_ms, *command_ms >= SLOW_CARD_MS);
            let crowd = Crowd { name, clients: *clients, unit_ms, slow_card };
            series.push(rounds(&stage, crowd, effort).await?);
        }
    }
    Ok(vec![table(&series)])
}

impl Crowd {
    /// So many clients, whose units take the card so long.
    pub(crate) fn new(clients: u64, unit_ms: u64) -> Self {
        Self { name: format!("{clients} clients"), clients, unit_ms, slow_card: true }
    }

    /// The targets of the broker. On a card that answers at once they are those of [`INSTANT_CLIENTS`].
    fn targets(&self, [share, worst, total]: [Spread; 3]) -> Vec<Target> {
        let target = |what: &str, limit, spread| Target::new(format!("{}: {what}", self.name), limit, spread);
        let all_to_alone = target("all : alone", Limit::AtLeast(LEAST_TOTAL), total);
        match (self.slow_card, self.clients) {
            (true, _) => vec![
                target("fewest : most turns", Limit::AtLeast(LEAST_SHARE), share),
                target("worst wait", Limit::AtMost(WORST_WAIT), worst),
                all_to_alone,
            ],
            (false, INSTANT_CLIENTS) => {
                vec![target("worst wait", Limit::AtMost(INSTANT_WORST_WAIT), worst), all_to_alone]
            }
            (false, _) => Vec::new(),
        }
    }
}

/// The results of one crowd in all rounds.
struct Series {
    crowd: Crowd,
    broker: Sharing,
    direct: Sharing,
}

/// How the card was shared, one value for each round.
#[derive(Default)]
pub(crate) struct Sharing {
    /// The ratio of the fewest turns of a client to the most.
    shares: Vec<f64>,
    /// The longest wait of a round, as a multiple of clients × unit.
    worst_waits: Vec<f64>,
    /// The ratio of all turns to those of one client alone in the same time.
    totals: Vec<f64>,
    /// The most turns of others in one wait, which does not depend on how busy the machine is.
    between: Vec<f64>,
    waits: Samples,
}

async fn rounds(stage: &Stage, crowd: Crowd, effort: Effort) -> anyhow::Result<Series> {
    let mut series = Series { crowd, broker: Sharing::default(), direct: Sharing::default() };
    let crowd = &series.crowd;
    let long = (TURNS * crowd.clients * crowd.unit_ms).max(SHORTEST_MS);
    let reader = stage.reader_name();
    let direct = || stage.direct(&[&["units", "transaction", &reader], &UNIT[..]].concat());
    for round in 1..=effort.rounds {
        progress(&format!("together: {}, round {round} of {}", crowd.name, effort.rounds));
        for way in order(round, 2) {
            if way == 0 {
                series.direct.add(crowd, &direct, long.min(DIRECT_MS))?;
                continue;
            }
            let mut broker = stage.broker(None).await?;
            let access = Access::unix(&broker.socket()).in_group("bench");
            series.broker.add(crowd, &|| access.client(&[&["units", "transmit", READER], &UNIT[..]].concat()), long)?;
            broker.stop()?;
        }
    }
    Ok(series)
}

impl Sharing {
    /// The fewest turns to the most, the worst wait, and all turns to those of one alone.
    pub(crate) fn ratios(&self) -> [Spread; 3] {
        [&self.shares, &self.worst_waits, &self.totals].map(|values| Spread::of(values))
    }

    /// The most turns of others in one wait.
    pub(crate) fn most_between(&self) -> Spread {
        Spread::of(&self.between)
    }

    /// Measures one client alone, then all at once.
    pub(crate) fn add(
        &mut self,
        crowd: &Crowd,
        start: &dyn Fn() -> anyhow::Result<Program>,
        ms: u64,
    ) -> anyhow::Result<()> {
        let alone = times(&mut start()?, &format!("for {SHORTEST_MS}"))?;
        let rate_alone = alone.len() as f64 / (alone.iter().sum::<i64>() as f64 / 1e6);
        let unit = alone.iter().copied().collect::<Samples>().median() as f64;

        let mut programs = (0..crowd.clients).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
        for program in &mut programs {
            program.say(&format!("for {ms}"))?;
        }
        let mut turns = Vec::new();
        let mut waits = Samples::default();
        let mut clients = Vec::new();
        for program in &mut programs {
            let times: Vec<i64> = serde_json::from_str(&program.line()?)?;
            turns.push(within(&times, ms));
            waits.add(times.iter().copied());
            clients.push(times);
        }
        self.between.push(turns_between(&clients) as f64);
        let (fewest, most) = (turns.iter().min().context("nobody")?, turns.iter().max().context("nobody")?);
        self.shares.push(*fewest as f64 / *most as f64);
        self.worst_waits.push(waits.max() as f64 / (unit * crowd.clients as f64));
        self.totals.push(turns.iter().sum::<usize>() as f64 / ms as f64 / rate_alone);
        self.waits.add(waits.iter());
        Ok(())
    }
}

/// The number of consecutive units that ended within `ms`.
fn within(times: &[i64], ms: u64) -> usize {
    let mut left = ms as i64 * 1_000_000;
    times
        .iter()
        .take_while(|time| {
            left -= **time;
            left >= 0
        })
        .count()
}

/// The most turns of other clients that ended in one wait, from the end of a client's turn to the end of its next one,
/// as long as all clients ran. `clients` has the times of each one's units; they began at about the same time.
fn turns_between(clients: &[Vec<i64>]) -> usize {
    let ends = |times: &Vec<i64>| {
        let mut end = 0;
        times
            .iter()
            .map(|time| {
                end += time;
                end
            })
            .collect::<Vec<_>>()
    };
    let clients: Vec<_> = clients.iter().map(ends).collect();
    let first_end = clients.iter().filter_map(|ends| ends.last()).min().copied().unwrap_or_default();
    let mut all = clients.concat();
    all.sort_unstable();
    let until = |end: i64| all.partition_point(|other| *other < end);
    let waits = clients.iter().flat_map(|ends| ends.windows(2)).filter(|wait| wait[1] <= first_end);
    waits.map(|wait| until(wait[1]).saturating_sub(until(wait[0] + 1))).max().unwrap_or_default()
}

fn table(series: &[Series]) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for Series { crowd, broker, direct } in series {
        for (way, sharing) in [("broker", broker), ("PC/SC", direct)] {
            let ratios = sharing.ratios();
            let waits = &sharing.waits;
            rows.push(vec![
                Cell::text(&crowd.name),
                Cell::text(way),
                Cell::Ratio(ratios[0]),
                Cell::Ratio(ratios[1]),
                Cell::Ratio(ratios[2]),
                Cell::Time(waits.median()),
                Cell::Time(waits.quantile(0.999)),
                Cell::Time(waits.max()),
            ]);
            if way == "broker" {
                targets.extend(crowd.targets(ratios));
            }
        }
    }
    Table {
        title: "Together",
        about: "Client processes that run units of 4 commands as fast as they can, each in a transaction or as one \
                Transmit, all in one isolation group. The ratios: the fewest turns of a \
                client to the most; the longest wait of a round to clients × unit; turns of all to those of one \
                client alone. The times are those of completed turns, so on PC/SC of few clients; its rounds end \
                after 3 s, the broker's when each client may have had 10 turns."
            .into(),
        columns: vec!["clients", "way", "fewest : most", "worst wait", "all : alone", "p50", "p99.9", "max"],
        rows,
        targets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_others_are_counted_between_two_ends() {
        let fair = [vec![10, 30, 30, 30], vec![20, 30, 30], vec![30, 30, 30]];
        assert_eq!(turns_between(&fair), 2);
        let unfair = [vec![10, 60, 30], vec![20, 20, 10, 40, 10], vec![30, 30, 50]];
        assert_eq!(turns_between(&unfair), 5);
        assert_eq!(turns_between(&[vec![1], Vec::new()]), 0);
    }
}
