//! Operators who look on: the cost of a trace and of a status for the turns of others.

use anyhow::ensure;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
};

use crate::{
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::Rounds,
    stage::{Access, times, until_ready},
};

const READER: &str = "readers/simulated-reader-00";

/// A command that takes 5 ms on the simulated card.
const COMMAND: &str = "80160000020005";

/// The longest turn beside an operator, as a multiple of one without.
const LIMIT: f64 = 1.05;

/// The request of the operators meanwhile.
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
    let mut series: [Rounds; VIEWS.len()] = Default::default();
    for round in 1..=effort.rounds {
        progress(&format!("operators: round {round} of {}", effort.rounds));
        for index in order(round, VIEWS.len()) {
            series[index].add(turns(&broker, &mut user, VIEWS[index].1, effort)?);
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

fn table(series: &[Rounds; VIEWS.len()]) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for ((view, _), times) in VIEWS.iter().zip(series) {
        let ratio = times.to(&series[0]);
        let [p50, p99, max] = Cell::quantiles(times.all());
        rows.push(vec![Cell::text(*view), p50, p99, max, Cell::Ratio(ratio)]);
        if *view != "nobody" {
            let what = format!("a turn on a card of 5 ms: {view}, to nobody");
            targets.push(Target::new(what, Limit::AtMost(LIMIT), ratio));
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
