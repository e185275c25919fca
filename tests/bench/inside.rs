//! The broker's own share of a request, by time stamps inside it.

use std::fs;

use cardbroker_client::{Client, Endpoint};
use serde_json::Value;

use crate::{
    Effort,
    alone::{READ_RECORD, SELECT},
    report::{Cell, Limit, Table, Target, progress},
    samples::Samples,
    stage::{Access, READER, Stage, times, until, until_ready},
};

/// What a request may spend in the broker beside the card, in ns.
const LIMIT: f64 = 25_000.0;

const SHARES: [&str; 3] = ["before", "between", "after"];

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (unit, apdu) in [("one APDU", READ_RECORD), ("SELECT + GET RESPONSE", SELECT)] {
        for way in ["transmit", "session"] {
            let mut shares: [Samples; 3] = Default::default();
            for round in 1..=effort.rounds {
                progress(&format!("inside: {way}, {unit}, round {round} of {}", effort.rounds));
                let report = one_round(&stage, way, apdu, effort.choose(2_000, 200)).await?;
                for (samples, share) in shares.iter_mut().zip(SHARES) {
                    samples.add(report[share].as_array().into_iter().flatten().filter_map(Value::as_i64));
                }
            }
            let [before, between, after] = &shares;
            let sum = before.median() + after.median();
            let cells = [before, between, after].map(|samples| match samples.len() {
                0 => Cell::None,
                _ => Cell::Time(samples.median()),
            });
            rows.push([Cell::text(unit), Cell::text(way)].into_iter().chain(cells).chain([Cell::Time(sum)]).collect());
            targets.push(Target::new(format!("{unit}, {way}"), Limit::Within(LIMIT), sum as f64));
        }
    }
    Ok(Table {
        title: "Inside the broker",
        about: "Medians, by time stamps in the process: from the decoded request to the first command that goes to the card, from \
                an answer of the card to the broker's own GET RESPONSE, and from the last answer to the response that is ready to be \
                encoded."
            .into(),
        columns: vec!["unit", "way", "decoded → card", "card → card", "card → response", "first and last together"],
        rows,
        targets,
    })
}

/// What the broker tells of its time stamps at its end.
async fn one_round(stage: &Stage, way: &str, apdu: &str, count: u32) -> anyhow::Result<Value> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let (socket, config) = (folder.path().join("socket"), folder.path().join("config"));
    fs::write(&config, "")?;
    let broker = stage.direct(&["stamps", &socket.display().to_string(), &config.display().to_string()])?;
    until("the broker listens", || Ok(socket.exists()))?;
    until_ready(&Client::connect(Endpoint::Unix(socket.clone())).await?, READER).await?;
    let mut user = Access::unix(&socket).client(&["units", way, READER, apdu])?;
    times(&mut user, &format!("times {count}"))?;
    drop(user);
    broker.end()
}
