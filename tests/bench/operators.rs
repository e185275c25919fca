//! Operators who look on: the cost of a trace and of a status for the turns of others.

use anyhow::ensure;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
};

use crate::{
    Effort,
    report::{Cell, Limit, Table, Target, progress},
    samples::{Samples, Spread},
    stage::{Access, times, until_ready},
};

const READER: &str = "readers/simulated-reader-00";

/// A command that takes 5 ms on the simulated card.
const COMMAND: &str = "80160000020005";

/// The longest turn beside an operator, as a multiple of one without.
const LIMIT: f64 = 1.05;

/// What operators look at meanwhile.
const VIEWS: [(&str, Option<&str>); 4] = [
    ("nobody", None),
    ("one trace", Some("trace")),
    ("one trace with data", Some("data")),
    ("one status every 250 ms", Some("status")),
];

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let mut broker = Setup::simulated(1)?.log_level("info").start()?;
    until_ready(&broker.client().await?, READER).await?;
    let mut user = Access::unix(&broker.socket()).client(&["units", "transmit", READER, COMMAND])?;
    times(&mut user, "times 20")?;
    let mut series = [(); VIEWS.len()].map(|()| (Samples::default(), Vec::new()));
    for round in 0..effort.rounds {
        progress(&format!("operators: round {} of {}", round + 1, effort.rounds));
        for place in 0..VIEWS.len() {
            // Each round begins with another view.
            let index = (place + round as usize) % VIEWS.len();
            let measured: Samples = turns(&broker, &mut user, VIEWS[index].1, effort)?.into_iter().collect();
            series[index].1.push(measured.median() as f64);
            series[index].0.add(measured.iter());
        }
    }
    broker.stop()?;
    Ok(table(&series))
}

/// The times of turns while an operator looks on.
fn turns(broker: &Broker, user: &mut Program, view: Option<&str>, effort: Effort) -> anyhow::Result<Vec<i64>> {
    let operator = view.map(|view| Access::unix(&broker.socket()).client(&["operator", view])).transpose()?;
    let measured = times(user, &format!("times {}", effort.choose(200, 50)))?;
    if let Some(operator) = operator {
        let (read, missed): (u64, u64) = serde_json::from_value(operator.end()?)?;
        // A turn has three events. A round of states has at least one a second.
        let expected = if view == Some("status") { 1 } else { 3 * measured.len() as u64 - 3 };
        ensure!(read >= expected && missed == 0, "{view:?}: {read} read, {missed} missed");
    }
    Ok(measured)
}

fn table(series: &[(Samples, Vec<f64>); VIEWS.len()]) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    let alone = &series[0].1;
    for ((view, _), (samples, medians)) in VIEWS.iter().zip(series) {
        let ratios: Vec<_> = medians.iter().zip(alone).map(|(median, alone)| median / alone).collect();
        let ratio = Spread::of(&ratios);
        let [p50, p99, max] = Cell::quantiles(samples);
        rows.push(vec![Cell::text(*view), p50, p99, max, Cell::Ratio(ratio)]);
        if *view != "nobody" {
            let what = format!("a turn on a card of 5 ms: {view}, to nobody");
            targets.push(Target::new(what, Limit::AtMost(LIMIT), ratio.median));
        }
    }
    Table {
        title: "Operators",
        about: "One client process that runs units of one command on a simulated card of 5 ms, while an operator's \
                process reads a trace or the status of the broker. The ratio is to the turns at which nobody looks, \
                median to median of each round."
            .into(),
        columns: vec!["who looks on", "p50", "p99", "max", "ratio"],
        rows,
        targets,
    }
}
