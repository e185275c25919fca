//! One client alone: the cost of a unit with the broker and without it.

use crate::{
    Effort,
    report::{Cell, Limit, Table, Target, progress},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage, times},
    tcp::Tcp,
};

pub(crate) const READ_RECORD: &str = "00B2010410";
pub(crate) const SELECT: &str = "00A4040006F04341524401";
const GET_RESPONSE: &str = "00C0000013";

struct Unit {
    name: &'static str,
    /// For PC/SC, and for a broker that does not complete answers.
    raw: &'static [&'static str],
    /// For a broker that completes answers.
    completed: &'static str,
}

const UNITS: [Unit; 2] = [
    Unit { name: "one APDU", raw: &[READ_RECORD], completed: READ_RECORD },
    Unit { name: "SELECT + GET RESPONSE", raw: &[SELECT, GET_RESPONSE], completed: SELECT },
];

/// One way to run one unit, with its times.
struct Series {
    unit: &'static str,
    way: String,
    limit: Option<f64>,
    samples: Samples,
    medians: Vec<f64>,
}

const SESSION_LIMIT: f64 = 1.25;
const UNARY_LIMIT: f64 = 1.8;

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let tcp = Tcp::prepare()?;
    let mut series: Vec<Series> = Vec::new();
    for round in 1..=effort.rounds {
        progress(&format!("alone, round {round} of {}", effort.rounds));
        let measured = one_round(&stage, tcp.as_ref(), effort.choose(2_000, 200)).await?;
        for (index, (unit, way, limit, times)) in measured.into_iter().enumerate() {
            if series.len() == index {
                series.push(Series { unit, way, limit, samples: Samples::default(), medians: Vec::new() });
            }
            let samples: Samples = times.iter().copied().collect();
            series[index].medians.push(samples.median() as f64);
            series[index].samples.add(times);
        }
    }
    series.sort_by_key(|one| UNITS.iter().position(|unit| unit.name == one.unit));
    Ok(table(&series, tcp.is_some()))
}

type Measured = (&'static str, String, Option<f64>, Vec<i64>);

/// All ways one after the other; first those without the broker, which would hold the card exclusively.
async fn one_round(stage: &Stage, tcp: Option<&Tcp>, count: u32) -> anyhow::Result<Vec<Measured>> {
    let (mut measured, order) = (Vec::new(), format!("times {count}"));
    let warm_up = format!("times {}", count / 10);
    let reader = stage.reader_name();
    for unit in &UNITS {
        for (way, name) in [("transaction", "PC/SC, in a transaction"), ("exclusive", "PC/SC, exclusive connection")] {
            let mut user = stage.direct(&[&["units", way, &reader], unit.raw].concat())?;
            times(&mut user, &warm_up)?;
            measured.push((unit.name, name.into(), None, times(&mut user, &order)?));
        }
    }
    let mut broker = stage.broker(tcp).await?;
    let accesses = [Some(("Unix", Access::unix(&broker.socket()))), tcp.map(|tcp| ("TCP", tcp.access()))];
    for (socket, access) in accesses.into_iter().flatten() {
        for unit in &UNITS {
            let is_pair = unit.raw.len() > 1;
            for (way, name, limit) in [("transmit", "Transmit", UNARY_LIMIT), ("session", "session", SESSION_LIMIT)] {
                let two_raw = is_pair.then(|| (", two raw commands", [&["--raw"], unit.raw].concat()));
                for (how, apdus) in two_raw.into_iter().chain([("", vec![unit.completed])]) {
                    let mut user = access.client(&[&["units", way, READER], &apdus[..]].concat())?;
                    times(&mut user, &warm_up)?;
                    let name = format!("broker, {name}{how} ({socket})");
                    measured.push((unit.name, name, Some(limit), times(&mut user, &order)?));
                }
            }
        }
    }
    broker.stop()?;
    Ok(measured)
}

fn table(series: &[Series], has_tcp: bool) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for one in series {
        let base = series.iter().find(|base| base.unit == one.unit).map_or(&[][..], |base| &base.medians);
        let ratios: Vec<_> = one.medians.iter().zip(base).map(|(median, base)| median / base).collect();
        let ratio = Spread::of(&ratios);
        let [p50, p99, max] = Cell::quantiles(&one.samples);
        rows.push(vec![Cell::text(one.unit), Cell::text(&one.way), p50, p99, max, Cell::Ratio(ratio)]);
        if let Some(limit) = one.limit {
            targets.push(Target::new(format!("{}: {}", one.unit, one.way), Limit::AtMost(limit), ratio.median));
        }
    }
    if !has_tcp {
        let dash = || Cell::None;
        rows.push(vec![Cell::text("both"), Cell::text("broker (TCP): not there"), dash(), dash(), dash(), dash()]);
    }
    Table {
        title: "Alone",
        about: "One client process and a card that answers at once. The ratio is to PC/SC in a transaction, median \
                to median. Without \"two raw commands\" the client sends SELECT alone and the broker fetches the \
                rest."
            .into(),
        columns: vec!["unit", "way", "p50", "p99", "max", "ratio"],
        rows,
        targets,
    }
}
