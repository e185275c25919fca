//! The broker for Windows on real PC/SC: Wine's winscard passes to a private pcscd, with virtual cards. Cards come and
//! go, and pcscd ends.

use std::thread;

use anyhow::{Context, ensure};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::harness::{LONGEST, pcscd::Pcscd, programs::Program};

use super::{
    stage::{INCREMENT, READER, SELECT, Stage, failure, insert},
    wine::{Broker, program},
};

/// The pairs of one of two programs.
const PAIRS: u64 = 300;

#[test]
fn two_programs_break_no_pair_through_the_broker() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let start = || {
        let mut pairs = program("examples/pairs")?;
        pairs.args([READER, &PAIRS.to_string(), "--as-unit"]).env("CARDBROKER_ENDPOINT", stage.broker.pipe());
        Program::spawn(&mut pairs)
    };
    for mut program in [start()?, start()?] {
        let line = program.line()?;
        println!("{line}");
        ensure!(line == format!("0 of {PAIRS} pairs broken"), "{line}");
    }
    Ok(())
}

#[test]
fn a_unit_awaits_an_insertion() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let broker = Broker::start(Some(&pcscd), &[])?;
    broker.wait_for("EMPTY")?;
    let impatient = broker.answers(&[SELECT])?;
    ensure!(failure(&impatient)? == "NO_CARD not_sent", "{impatient:?}");
    let mut watch = Program::spawn(&mut broker.cardbroker(&["--json", "watch"])?)?;
    wait_for_line(&mut watch, "EMPTY")?;
    let mut patient = broker.unit(&["--wait-for-card", SELECT])?;
    let _card = insert(&pcscd)?;
    ensure!(patient.line()?.ends_with(" 9000"));
    ensure!(patient.wait()?.success());
    wait_for_line(&mut watch, "READY")
}

#[test]
fn a_removal_during_a_command_reaches_every_request() -> anyhow::Result<()> {
    let Stage { broker, card, pcscd } = Stage::new()?;
    card.hang_next(LONGEST);
    thread::scope(|scope| {
        let in_flight = scope.spawn(|| broker.answers(&[INCREMENT]));
        ensure!(card.wait_until(LONGEST, |seen| seen.hanging));
        let waiting = scope.spawn(|| broker.answers(&[INCREMENT]));
        broker.wait_for_waiters(1)?;
        card.pull();
        let [in_flight, waiting] = [in_flight, waiting].map(|unit| unit.join().ok().context("a panic"));
        ensure!(failure(&in_flight??)? == "CARD_REMOVED unknown");
        ensure!(failure(&waiting??)? == "CARD_REMOVED not_sent");
        Ok(())
    })?;
    broker.wait_for("EMPTY")?;
    ensure!(card.seen().by_instruction[0x12] == 1, "the command behind the one in flight never reaches the card");
    card.swap(CardOptions { serial: 2, ..CardOptions::default() });
    broker.wait_for("READY")?;
    let answer = broker.run(&["transmit", READER, INCREMENT])?;
    ensure!(answer.out.trim_end() == "00000001 9000", "{answer:?}");
    drop(pcscd);
    Ok(())
}

#[test]
fn nothing_runs_twice_when_pcscd_is_killed_during_a_command() -> anyhow::Result<()> {
    let Stage { broker, card, mut pcscd } = Stage::new()?;
    card.hang_next(LONGEST);
    thread::scope(|scope| {
        let in_flight = scope.spawn(|| broker.answers(&[INCREMENT]));
        ensure!(card.wait_until(LONGEST, |seen| seen.hanging));
        pcscd.kill()?;
        let in_flight = in_flight.join().ok().context("a panic")??;
        ensure!(failure(&in_flight)?.ends_with(" unknown"), "{in_flight:?}");
        Ok(())
    })?;
    broker.wait_for("UNAVAILABLE")?;
    let meanwhile = broker.answers(&[INCREMENT])?;
    ensure!(failure(&meanwhile)?.ends_with(" not_sent"), "{meanwhile:?}");
    card.resume();
    pcscd.restart()?;
    // The card is in the reader again.
    broker.wait_for("READY")?;
    ensure!(card.seen().by_instruction[0x12] == 1, "nothing is repeated");
    let answer = broker.run(&["transmit", READER, SELECT])?;
    ensure!(answer.code == Some(0) && answer.out.trim_end().ends_with(" 9000"), "{answer:?}");
    Ok(())
}

/// Waits for a line of the program with this text.
fn wait_for_line(program: &mut Program, text: &str) -> anyhow::Result<()> {
    while !program.line()?.contains(text) {}
    Ok(())
}
