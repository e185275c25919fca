//! The card is unused while requests wait only for as long as the rule lets it linger.

use std::{
    io::{self, Write},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, pcscd::Pcscd},
};
use serde_json::Value;

use crate::{
    turns::{in_group, saturator, turns},
    world::{COUNT, INCREMENT, READER, SELECT, Stage, VERIFY, arrived, raw_unit, slow, tell, unit, wait_for},
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
        let programs = (0..2).map(|_| saturator(&broker, INCREMENT, 5, None)).collect::<Result<_, _>>()?;
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

/// The time from the last answer to a group that has raised security state until the answer to another one that waits.
/// The card would linger for the rest of an open pair: 100 ms.
async fn until_the_next_answer(stage: &Stage, round: usize, group_ends: bool) -> anyhow::Result<Duration> {
    let family = in_group(&stage.broker, "family").await?;
    // Another group each time, so that the card does not linger for it.
    let other = in_group(&stage.broker, &format!("neighbours-{round}-{group_ends}")).await?;
    let first = arrived(&family, raw_unit(&family, stage.reader, &[VERIFY, &slow(200), SELECT])).await?;
    let next = arrived(&other, unit(&other, stage.reader, &[COUNT])).await?;
    first.await?;
    let answered = Instant::now();
    let family = Some(family).filter(|_| !group_ends);
    ensure!(next.await?.was_reset);
    drop(family);
    Ok(answered.elapsed())
}

#[test]
fn the_end_of_a_group_resets_a_card_that_lingers_for_it() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated_with(Protocol::T1, "limits.turn_quantum = \"10s\"").await?;
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        for round in 0..5 {
            kept.push(until_the_next_answer(&stage, round, false).await?);
            ended.push(until_the_next_answer(&stage, round, true).await?);
        }
        writeln!(io::stderr(), "answered while the group exists after {kept:?}, once it has ended after {ended:?}")?;
        // A busy machine delays some of them.
        assert!(kept.iter().max() > Some(&Duration::from_millis(80)), "{kept:?}");
        assert!(ended.iter().min() < Some(&Duration::from_millis(50)), "{ended:?}");
        Ok(())
    })
}
