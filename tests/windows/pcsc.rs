//! Windows programs on real PC/SC: Wine's winscard passes to the machine's pcscd, with virtual cards.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{LONGEST, pcscd::Pcscd, programs::Program, run},
};
use serde_json::Value;

use super::wine::{Broker, program};

/// The pairs of one of two programs.
const DIRECT_PAIRS: u64 = 1_500;
const BROKER_PAIRS: u64 = 300;

/// Inserts a card, and waits until pcscd has seen it.
fn insert(pcscd: &Pcscd) -> anyhow::Result<VirtualCard> {
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    ensure!(card.wait_until(Duration::from_secs(5), |seen| seen.resets > 0), "pcscd does not see the card");
    Ok(card)
}

#[test]
fn two_programs_break_each_others_pairs_without_the_broker() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let _card = insert(&pcscd)?;
    let (reader, pairs) = (pcscd.reader_name(0), DIRECT_PAIRS.to_string());
    let start = || {
        let mut direct = program("direct-pcsc-windows")?;
        direct.args([&reader, "--pairs", &pairs]).env("PCSCLITE_CSOCK_NAME", pcscd.socket());
        Program::spawn(&mut direct)
    };
    let mut broken = 0;
    for mut program in [start()?, start()?] {
        let report = program.report()?;
        broken += report["broken"].as_u64().context("no count")?;
    }
    println!("{broken} of {} pairs broken", 2 * DIRECT_PAIRS);
    ensure!(broken > 0);
    Ok(())
}

#[test]
fn two_programs_break_no_pair_through_the_broker() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let _card = insert(&pcscd)?;
    let broker = Broker::start(Some(&pcscd), &[])?;
    let reader = ready(&broker)?;
    let start = || {
        let mut pairs = program("examples/pairs")?;
        pairs.args([&reader, &BROKER_PAIRS.to_string(), "--as-unit"]).env("CARDBROKER_ENDPOINT", broker.pipe());
        Program::spawn(&mut pairs)
    };
    for mut program in [start()?, start()?] {
        let line = program.line()?;
        println!("{line}");
        ensure!(line == format!("0 of {BROKER_PAIRS} pairs broken"), "{line}");
    }
    Ok(())
}

#[test]
fn a_card_leaves_and_comes_and_pcscd_restarts() -> anyhow::Result<()> {
    let mut pcscd = Pcscd::start(1)?;
    let card = insert(&pcscd)?;
    let broker = Broker::start(Some(&pcscd), &[])?;
    let reader = ready(&broker)?;
    card.pull();
    wait_for_state(&broker, "EMPTY")?;
    drop(card);
    let card = insert(&pcscd)?;
    wait_for_state(&broker, "READY")?;
    pcscd.kill()?;
    wait_for_state(&broker, "UNAVAILABLE")?;
    drop(card);
    pcscd.restart()?;
    let _card = insert(&pcscd)?;
    wait_for_state(&broker, "READY")?;
    let answer = broker.run(&["transmit", &reader, "00A4040006F0434152440100"])?;
    ensure!(answer.code == Some(0), "{answer:?}");
    Ok(())
}

/// Waits for a card in the only reader, and returns the reader's name.
fn ready(broker: &Broker) -> anyhow::Result<String> {
    wait_for_state(broker, "READY")
}

/// Waits until a reader is in this state, and returns its name.
fn wait_for_state(broker: &Broker, state: &str) -> anyhow::Result<String> {
    let deadline = Instant::now() + LONGEST;
    loop {
        let seen = run::run(&mut broker.cardbroker(&["--json", "readers"])?)?;
        let readers: Value = serde_json::from_str(&seen.out).unwrap_or_default();
        let readers = readers.as_array().cloned().unwrap_or_default();
        if let Some(reader) = readers.iter().find(|reader| reader["state"] == state) {
            return Ok(reader["name"].as_str().context("no name")?.to_owned());
        }
        ensure!(Instant::now() < deadline, "no reader is {state}: {seen:?}\n{}", broker.log());
    }
}
