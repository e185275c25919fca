//! Programs that use PC/SC directly, without a broker, break each other's pairs: proof that the fixtures can fail.

use std::time::Duration;

use anyhow::{Context, ensure};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{pcscd::Pcscd, programs::Program},
};
use serde_json::Value;

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const INTERFERER: &str = env!("CARGO_BIN_EXE_interferer");
const PAIRS: u64 = 1500;

/// The number of broken pairs when two programs share a card.
fn broken_pairs(options: &[&str]) -> anyhow::Result<u64> {
    let pcscd = Pcscd::start(2)?;
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    ensure!(card.wait_until(Duration::from_secs(5), |seen| seen.resets > 0), "pcscd does not see the card");
    let (reader, pairs) = (pcscd.reader_name(0), PAIRS.to_string());
    let arguments = [&[reader.as_str(), "--pairs", &pairs], options].concat();
    let mut programs = [(); 2].map(|()| Program::start(DIRECT, &pcscd, &arguments));
    let mut broken = 0;
    for program in &mut programs {
        let report = program.as_mut().map_err(|error| anyhow::anyhow!("{error}"))?.report()?;
        let count = |key: &str| report[key].as_u64().context("no such count");
        ensure!(count("done")? + count("broken")? == PAIRS);
        broken += count("broken")?;
    }
    Ok(broken)
}

#[test]
fn two_programs_without_transactions_break_each_others_pairs() -> anyhow::Result<()> {
    assert!(broken_pairs(&[])? > 0);
    Ok(())
}

#[test]
fn two_programs_with_transactions_break_no_pair() -> anyhow::Result<()> {
    assert_eq!(broken_pairs(&["--transactions"])?, 0);
    Ok(())
}

#[test]
fn a_rival_on_the_empty_reader_gets_the_card_first() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let mut rival = Program::start(INTERFERER, &pcscd, &["hold", &pcscd.reader_name(0)])?;
    assert_eq!(rival.line()?, "holding");
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let report = rival.report()?;
    assert_eq!((&report["won"], &report["errors"]), (&Value::from(true), &Value::from(0)), "{report}");
    let seen = card.seen();
    assert!(seen.resets > 2);
    assert_eq!(seen.headers[..4], [[0, 0xA4, 4, 0], [0, 0xCA, 0x7F, 0x68], [0, 0xA4, 4, 0], [0, 0xA4, 4, 0]]);
    Ok(())
}

#[test]
fn a_rival_that_races_for_a_free_card_gets_it() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let mut rival = Program::start(INTERFERER, &pcscd, &["race", &pcscd.reader_name(0)])?;
    assert_eq!(rival.line()?, "racing");
    let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let after_insertion: Value = serde_json::from_str(&rival.line()?)?;
    assert!(after_insertion["connections"].as_u64() > Some(0), "{after_insertion}");
    assert_eq!(rival.end()?["insertions"], 1);
    Ok(())
}
