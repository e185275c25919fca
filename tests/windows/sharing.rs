//! Programs of Windows share a card on real PC/SC through the broker: its exclusive hold, isolation, and the ends of
//! sessions.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::{GROUP_VARIABLE, hex};
use cardbroker_tests::{
    cards::piv::{self, PivCard},
    harness::{
        LONGEST,
        pcscd::Pcscd,
        programs::Program,
        run::{self, Run},
    },
};

use super::{
    stage::{PROTECTED, READER, SELECT, Stage, VERIFY},
    wine::{Broker, program},
};

/// The answer to a command that needs a verified PIN.
const REFUSED: &str = "6982";

/// A program with PC/SC alone, on Linux (`None`) or Windows, that sends commands.
fn direct(windows: Option<&str>, pcscd: &Pcscd, commands: &[&str]) -> anyhow::Result<Command> {
    let mut command = match windows {
        Some(name) => program(name)?,
        None => Command::new(env!("CARGO_BIN_EXE_direct-pcsc")),
    };
    command.arg(pcscd.reader_name(0)).arg("--send").args(commands).env("PCSCLITE_CSOCK_NAME", pcscd.socket());
    Ok(command)
}

#[test]
fn a_program_of_linux_cannot_connect_to_the_brokers_card() -> anyhow::Result<()> {
    let Stage { mut broker, pcscd, card } = Stage::new()?;
    let commands = card.commands_seen();
    let refused = run::run(&mut direct(None, &pcscd, &[SELECT])?)?;
    ensure!(refused.code == Some(1) && refused.err.contains("other connections outstanding"), "{refused:?}");
    ensure!(card.commands_seen() == commands);
    // After a graceful end the card is free.
    broker.interrupt()?;
    let served = run::run(&mut direct(None, &pcscd, &[SELECT])?)?;
    ensure!(served.code == Some(0) && served.out.contains("6113"), "{served:?}");
    Ok(())
}

/// The commands of a PIV card for a PIN, and for a signature.
fn piv_commands() -> [String; 3] {
    [piv::select(), piv::verify(piv::PIN), piv::sign(&[0x5A; 32])].map(|apdu| hex::format(&apdu))
}

#[test]
fn by_winscard_alone_another_program_signs_with_a_verified_pin() -> anyhow::Result<()> {
    let [select, verify, sign] = piv_commands();
    let pcscd = Pcscd::start(1)?;
    let _card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
    let mut verifier = Program::spawn(direct(Some("direct-pcsc-windows"), &pcscd, &[&select, &verify])?.arg("--stay"))?;
    ensure!(verifier.line()?.ends_with("\"9000\"]"));
    let signer = run::run(&mut direct(Some("direct-pcsc-windows"), &pcscd, &[&sign])?)?;
    ensure!(signer.out.contains("7C4") && signer.out.contains("9000"), "{signer:?}");
    Ok(())
}

#[test]
fn through_the_broker_another_program_cannot_use_a_verified_pin() -> anyhow::Result<()> {
    let [select, verify, sign] = piv_commands();
    let pcscd = Pcscd::start(1)?;
    let card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
    let broker = Broker::start(Some(&pcscd), &[])?;
    broker.wait_for("READY")?;
    let mut verifier = broker.session("verifier", &["--disposition", "leave"])?;
    for command in [&select, &verify, &sign] {
        verifier.say(command)?;
    }
    ensure!(verifier.line()?.ends_with("9000") && verifier.line()? == "9000");
    ensure!(is_signature(&verifier.line()?), "the verifier itself may sign");
    let resets = card.resets_seen();
    verifier.close_input();
    let signer = broker.member("signer", &[&select, &sign])?;
    ensure!(last_line(&signer)? == REFUSED, "{signer:?}");
    ensure!(card.resets_seen() > resets, "the card was reset between them");
    ensure!(verifier.wait()?.success());
    Ok(())
}

fn is_signature(answer: &str) -> bool {
    answer.starts_with("7C4") && answer.ends_with(" 9000")
}

fn last_line(run: &Run) -> anyhow::Result<&str> {
    run.out.lines().last().context("no answer")
}

#[test]
fn a_killed_programs_session_ends_and_the_card_is_reset() -> anyhow::Result<()> {
    let Stage { broker, card, pcscd } = Stage::new()?;
    // In one group, so that a reset for isolation cannot hide a missing reset at the session's end.
    let mut holder = broker.session("family", &["--disposition", "leave"])?;
    for command in [VERIFY, PROTECTED] {
        holder.say(command)?;
    }
    ensure!(holder.line()? == "9000" && holder.line()?.ends_with(" 9000"));
    let mut waiting = broker.session("family", &[])?;
    waiting.say(PROTECTED)?;
    broker.wait_for_waiters(1)?;
    let resets = card.resets_seen();
    drop(holder);
    ensure!(waiting.line()? == REFUSED);
    ensure!(card.resets_seen() == resets + 1, "one reset");
    drop(pcscd);
    Ok(())
}

#[test]
fn an_idle_session_is_revoked_for_a_waiting_program() -> anyhow::Result<()> {
    let Stage { broker, card, pcscd } = Stage::new()?;
    let errors = tempfile::NamedTempFile::new()?;
    let options = ["--json", "session", READER, "--idle-timeout", "300ms", "--disposition", "leave"];
    let mut idle = broker.cardbroker(&options)?;
    let mut idle = Program::spawn(idle.env(GROUP_VARIABLE, "family").stderr(errors.reopen()?))?;
    idle.say(VERIFY)?;
    ensure!(idle.line()?.contains("\"opened\"") && idle.line()?.contains("\"9000\""));
    let resets = card.resets_seen();
    let next = broker.member("family", &[PROTECTED])?;
    ensure!(last_line(&next)? == REFUSED, "{next:?}");
    ensure!(card.resets_seen() == resets + 1, "one reset");
    // Its program hears so at its next command, which never reaches the card, and ends.
    let commands = card.commands_seen();
    idle.say(PROTECTED)?;
    ensure!(!idle.wait()?.success());
    ensure!(card.commands_seen() == commands);
    let deadline = Instant::now() + LONGEST;
    while !fs::read_to_string(errors.path())?.contains("LEASE_REVOKED") {
        ensure!(Instant::now() < deadline, "{}", fs::read_to_string(errors.path())?);
        thread::sleep(Duration::from_millis(10));
    }
    drop(pcscd);
    Ok(())
}
