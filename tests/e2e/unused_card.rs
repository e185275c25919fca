//! The card is unused while requests wait only for as long as the rule lets it linger.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, pcscd::Pcscd},
};
use serde_json::Value;

use crate::{
    talkers::{saturator, turns},
    world::{INCREMENT, READER, tell, wait_for},
};

const QUANTUM: Duration = Duration::from_millis(40);
const LINGER: Duration = Duration::from_millis(3);
/// Longer than the card lingers for a caller.
const SURELY_WAITED_MS: u64 = 5;

/// The time of a record of the log.
fn time(record: &Value) -> anyhow::Result<SystemTime> {
    let stamp: prost_types::Timestamp = record["timestamp"].as_str().context("no time")?.parse()?;
    Ok(stamp.try_into()?)
}

/// How late the reset began at each hand-over to a caller that waited, in ascending order. A reset is due when the
/// visit is over: after the last answer, and after the linger if the quantum has time for it.
fn delays(log: &str) -> anyhow::Result<Vec<Duration>> {
    let records: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of_turns = |record: &&Value| ["unit done", "reset done"].map(Value::from).contains(&record["message"]);
    let records: Vec<_> = records.iter().filter(of_turns).collect();
    let (mut delays, mut visit_began) = (Vec::new(), None);
    for three in records.windows(3) {
        let [last, reset, next] = three else { continue };
        if reset["message"] != "reset done" {
            continue;
        }
        let visit_began = visit_began.replace(time(reset)?);
        let is_hand_over = last["message"] == "unit done" && last["caller"] != next["caller"];
        let has_waited = next["waited_ms"].as_u64().is_some_and(|waited| waited >= SURELY_WAITED_MS);
        if let Some(visit_began) = visit_began.filter(|_| is_hand_over && has_waited) {
            let took = Duration::from_micros(reset["took_us"].as_u64().context("no duration")?);
            let answered = time(last)?;
            let due = answered.max((visit_began + QUANTUM).min(answered + LINGER));
            // Early if a debt shortens the visit, or if the caller returns in its last moment.
            delays.push((time(reset)? - took).duration_since(due).unwrap_or_default());
        }
    }
    delays.sort_unstable();
    Ok(delays)
}

#[test]
fn a_reset_between_groups_begins_when_the_visit_is_over() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(2)?;
        let (command_time, reset_time) = (Duration::from_millis(2), Duration::from_millis(20));
        let card = CardOptions { command_time, reset_time, ..CardOptions::default() };
        let _card = VirtualCard::insert(pcscd.port(0), card)?;
        let quantum = format!("limits.turn_quantum = \"{}ms\"", QUANTUM.as_millis());
        let level = "info,cardbroker::unit=debug,cardbroker::reset=debug";
        let mut broker =
            Setup::on(&pcscd)?.configuration(&quantum).log_level(level).flag("--log-format=json").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let programs = (0..2).map(|_| saturator(&broker, READER, INCREMENT, 5, None)).collect::<Result<_, _>>()?;
        turns(programs)?;
        broker.stop()?;
        let delays = delays(&broker.log())?;
        let median = delays.get(delays.len() / 2).context("no hand-over")?;
        writeln!(io::stderr(), "{} hand-overs, late by {median:?} (median), {:?} (most)", delays.len(), delays.last())?;
        ensure!(delays.len() >= 20, "{delays:?}");
        // The most depends on what else the machine does.
        assert!(*median <= Duration::from_millis(1), "{delays:?}");
        Ok(())
    })
}
