//! The original failure: a parent starts a child, both use one card, and at the insertion a third program sends the
//! commands of Windows' plug and play. With PC/SC alone pairs break; through the C interface none does.

use std::process::Command;

use anyhow::{Context, ensure};
use cardbroker_client::{GROUP_VARIABLE, ReaderState};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::{ENDPOINT_VARIABLE, TOKEN_FILE_VARIABLE};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{broker::Setup, languages::language, pcscd::Pcscd, programs::Program},
};
use serde_json::Value;

use crate::world::{READER, tell, wait_for};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const INTERFERER: &str = env!("CARGO_BIN_EXE_interferer");
const RUST_PAIRS: &str = env!("CARGO_BIN_EXE_rust-pairs");

fn count(report: &Value, key: &str) -> anyhow::Result<u64> {
    report[key].as_u64().with_context(|| format!("no {key} in {report}"))
}

/// The rival for the next card, once it waits.
fn rival(pcscd: &Pcscd) -> anyhow::Result<Program> {
    let mut rival = Program::start(INTERFERER, pcscd, &["race", &pcscd.reader_name(0)])?;
    ensure!(rival.line()? == "racing");
    Ok(rival)
}

#[test]
fn without_a_broker_parent_and_child_break_pairs() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let mut rival = rival(&pcscd)?;
    let arguments = [&*pcscd.reader_name(0), "--pairs", "500"];
    let family = [Program::start(DIRECT, &pcscd, &arguments)?, Program::start(DIRECT, &pcscd, &arguments)?];
    let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let mut broken = 0;
    for mut member in family {
        broken += count(&member.report()?, "broken")?;
    }
    let at_insertion: Value = serde_json::from_str(&rival.line()?)?;
    ensure!(broken > 0 && count(&at_insertion, "connections")? > 0, "{broken} broken, {at_insertion}");
    Ok(())
}

#[test]
fn through_the_c_interface_no_pair_is_broken() -> anyhow::Result<()> {
    let Some(c) = language("c")? else { return Ok(()) };
    tell(async {
        for session in [false, true] {
            let pcscd = Pcscd::start(1)?;
            let broker = Setup::on(&pcscd)?.start()?;
            wait_for(&broker, READER, ReaderState::Empty).await?;
            let mut rival = rival(&pcscd)?;
            let in_sessions = session.then_some("--session");
            let through_the_broker = |program: &str| {
                let mut command = Command::new(program);
                command.args([READER, "--seconds", "2"]).args(in_sessions).env(ENDPOINT_VARIABLE, broker.endpoint());
                command.env_remove(GROUP_VARIABLE).env_remove(TOKEN_FILE_VARIABLE);
                command
            };
            let pairs = c.program("pairs").into_os_string().into_string().ok().context("not text")?;
            let mut parent = Program::spawn(through_the_broker(&pairs).arg("--child"))?;
            let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
            wait_for(&broker, READER, ReaderState::Ready).await?;
            let mut stranger = Program::spawn(&mut through_the_broker(RUST_PAIRS))?;
            // The parent and the child print a line each.
            for report in [parent.line()?, parent.line()?] {
                let report: Value = serde_json::from_str(&report)?;
                ensure!(count(&report, "broken")? == 0 && count(&report, "pairs")? > 10, "{report}");
            }
            ensure!(parent.wait()?.success());
            let report = stranger.report()?;
            ensure!(count(&report, "broken")? == 0 && count(&report, "pairs")? > 10, "{report}");
            let at_insertion: Value = serde_json::from_str(&rival.line()?)?;
            // It may have been faster than the broker, which then waits until it is gone.
            ensure!(count(&at_insertion, "attempts")? > 0, "{at_insertion}");
            ensure!(card.seen().by_instruction[0xA4] > 30);
        }
        Ok(())
    })
}
