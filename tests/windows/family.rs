//! The original failure, as its user would tell it: on Windows a parent starts a child in C++, both use one card, and
//! at its insertion a third program sends the commands of plug and play. With winscard alone pairs of commands break;
//! through the broker none does.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cardbroker_client::GROUP_VARIABLE;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{pcscd::Pcscd, programs::Program},
};
use serde_json::Value;

use super::{
    stage::READER,
    wine::{Broker, program},
};

/// How long each program runs pairs.
const SECONDS: &str = "3";

/// The longest time of a story, of which the pairs take three seconds.
const LIMIT: Duration = Duration::from_secs(60);

fn count(report: &Value, key: &str) -> anyhow::Result<u64> {
    report[key].as_u64().with_context(|| format!("no {key} in {report}"))
}

/// The numbers of broken pairs, and of the rival's attempts to connect to the card and connections.
#[derive(Debug)]
struct Outcome {
    broken: u64,
    attempts: u64,
    connections: u64,
}

/// Runs parent and child in this manner while the rival waits for the card, then inserts it.
fn family(pcscd: &Pcscd, manner: &str, reader: &str, broker: Option<&Broker>) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let rival_arguments = ["race", &pcscd.reader_name(0), "--duration-ms", "1500"];
    let mut rival = program("interferer-windows")?;
    let mut rival = Program::spawn(rival.args(rival_arguments).env("PCSCLITE_CSOCK_NAME", pcscd.socket()))?;
    ensure!(rival.line()? == "racing");
    let mut parent = program("family")?;
    parent.args([manner, reader, SECONDS, "--parent"]).env_remove(GROUP_VARIABLE);
    match broker {
        Some(broker) => parent.env("CARDBROKER_ENDPOINT", broker.pipe()),
        None => parent.env("PCSCLITE_CSOCK_NAME", pcscd.socket()),
    };
    let mut parent = Program::spawn(&mut parent)?;
    let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let (mut pairs, mut broken, mut programs) = (0, 0, Vec::new());
    for line in [parent.line()?, parent.line()?] {
        let report: Value = serde_json::from_str(&line)?;
        // Each has had its part.
        ensure!(count(&report, "pairs")? > 10, "{report}");
        (pairs, broken) = (pairs + count(&report, "pairs")?, broken + count(&report, "broken")?);
        programs.push(report["program"].as_str().context("no name")?.to_owned());
    }
    programs.sort();
    ensure!(programs == ["child", "parent"] && parent.wait()?.success(), "{programs:?}");
    let rival: Value = serde_json::from_str(&rival.line()?)?;
    ensure!(begin.elapsed() < LIMIT, "it took {:?}", begin.elapsed());
    let outcome = Outcome { broken, attempts: count(&rival, "attempts")?, connections: count(&rival, "connections")? };
    let (seconds, rival) = (begin.elapsed().as_secs(), outcome.connections);
    println!("{manner}: {broken} of {pairs} pairs broken, {rival} connections of the rival, {seconds} s");
    Ok(outcome)
}

#[test]
fn with_winscard_alone_a_parent_and_its_child_break_pairs() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let outcome = family(&pcscd, "direct", &pcscd.reader_name(0), None)?;
    ensure!(outcome.broken > 0 && outcome.connections > 0, "{outcome:?}");
    Ok(())
}

#[test]
fn through_the_broker_a_parent_and_its_child_break_no_pair() -> anyhow::Result<()> {
    for manner in ["unit", "session"] {
        let pcscd = Pcscd::start(1)?;
        let broker = Broker::start(Some(&pcscd), &[])?;
        broker.wait_for("EMPTY")?;
        let outcome = family(&pcscd, manner, READER, Some(&broker))?;
        // The rival may have been faster than the broker, which then waits until it is gone.
        ensure!(outcome.broken == 0 && outcome.attempts > 0, "{outcome:?}");
    }
    Ok(())
}
