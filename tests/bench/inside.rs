//! The broker's own share of a request, by the spans inside it.

use std::fs;

use anyhow::Context as _;
use cardbroker_client::{Client, Endpoint};
use serde_json::Value;

use crate::{
    alone::{READ_RECORD, SELECT},
    processors,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::{Samples, Spread},
    stage::{Access, READER, Stage, times, until, until_ready},
};

/// The maximum time of a request in the broker beside the card, in ns.
const LIMIT: f64 = 25_000.0;

const SHARES: [&str; 3] = ["before", BETWEEN, "after"];
const BETWEEN: &str = "between";

/// One request, and what it spent in the broker.
struct Series {
    name: String,
    way: &'static str,
    apdu: &'static str,
    /// The only processor that the broker may use.
    processor: Option<usize>,
    shares: [Samples; 3],
    /// The medians of the first and the last share together, one value for each round, in ns.
    sums: Vec<f64>,
}

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let usable = processors::usable()?;
    let (first, last) = (usable.first().context("no processor")?, usable.last().context("no processor")?);
    let mut all_series = Vec::new();
    for (processor, where_) in [(None, ""), (Some(*first), ", the broker on one processor")] {
        for (unit, apdu) in [("one APDU", READ_RECORD), ("SELECT + GET RESPONSE", SELECT)] {
            for way in ["transmit", "session"] {
                let name = format!("{unit}, {way}{where_}");
                let (shares, sums) = (Default::default(), Vec::new());
                all_series.push(Series { name, way, apdu, processor, shares, sums });
            }
        }
    }
    let (mut on_one, mut on_two) = (Samples::default(), Samples::default());
    let count = effort.choose(2_000, 200);
    for round in 1..=effort.rounds {
        for index in order(round, all_series.len()) {
            let series = &mut all_series[index];
            progress(&format!("inside: {}, round {round} of {}", series.name, effort.rounds));
            let report = one_round(&stage, series, count).await?;
            let mut sum = 0;
            for (samples, share) in series.shares.iter_mut().zip(SHARES) {
                let times: Samples = report[share].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
                if share != BETWEEN {
                    sum += times.median();
                }
                samples.add(times.iter());
            }
            series.sums.push(sum as f64);
        }
        on_one.add(processors::hand_overs(*first, *first, count)?.iter());
        if first != last {
            on_two.add(processors::hand_overs(*first, *last, count)?.iter());
        }
    }
    Ok(table(&all_series, &[("the same", on_one), ("another", on_two)]))
}

fn table(all_series: &[Series], hand_overs: &[(&str, Samples)]) -> Table {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for Series { name, processor, shares: [before, between, after], sums, .. } in all_series {
        let sum = Spread::of(sums);
        let shares = [before, between, after].map(median);
        rows.push([Cell::text(name)].into_iter().chain(shares).chain([Cell::Time(sum.median as i64)]).collect());
        if processor.is_none() {
            targets.push(Target::new(name, Limit::Within(LIMIT), sum));
        }
    }
    for (processor, times) in hand_overs {
        let name = format!("nothing: a thread wakes one on {processor} processor");
        rows.push(vec![Cell::text(name), median(times), Cell::None, Cell::None, Cell::None]);
    }
    Table {
        title: "Inside the broker",
        about: "Medians, by the spans of units and exchanges, which a layer times in the process: from the decoded \
                request to the first command that goes to the card, from an answer of the card to the broker's own \
                GET RESPONSE, and from the last answer to the response that is ready to be encoded. The times include \
                those of the spans, which are off at the usual log level. The process is cardbrokerd's server without \
                its allocator, which wipes memory. A card has a thread of its own, so a request is handed over twice. \
                What that costs depends on where the kernel lets the two threads run; the rows with one processor and \
                the last ones show it, and have no target."
            .into(),
        columns: vec!["request", "decoded → card", "card → card", "card → response", "first and last together"],
        rows,
        targets,
    }
}

fn median(samples: &Samples) -> Cell {
    match samples.len() {
        0 => Cell::None,
        _ => Cell::Time(samples.median()),
    }
}

/// The times that the broker reports at its end.
async fn one_round(stage: &Stage, series: &Series, count: u32) -> anyhow::Result<Value> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let (socket, config) = (folder.path().join("socket"), folder.path().join("config"));
    fs::write(&config, "")?;
    let mut arguments = vec!["stamps".to_owned(), socket.display().to_string(), config.display().to_string()];
    arguments.extend(series.processor.map(|processor| format!("--processor={processor}")));
    let broker = stage.direct(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    until("the broker listens", || Ok(socket.exists()))?;
    until_ready(&Client::connect(Endpoint::Unix(socket.clone())).await?, READER).await?;
    let mut user = Access::unix(&socket).client(&["units", series.way, READER, series.apdu])?;
    times(&mut user, &format!("times {count}"))?;
    drop(user);
    broker.end()
}
