//! Real PC/SC for the stories: a private pcscd with a virtual card, and the broker for Windows on it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cardbroker_client::GROUP_VARIABLE;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        LONGEST,
        pcscd::Pcscd,
        programs::Program,
        run::{self, Run},
    },
};
use serde_json::Value;

use super::wine::Broker;

/// PC/SC's only reader, as the broker names it.
pub(crate) const READER: &str = "readers/virtual-pcd-a-00-00";

pub(crate) const SELECT: &str = "00A4040006F0434152440100";
pub(crate) const INCREMENT: &str = "8012000004";
pub(crate) const VERIFY: &str = "00200080083132333435363738";
pub(crate) const PROTECTED: &str = "00B0810005";

/// Inserts a card, and waits until pcscd has seen it.
pub(crate) fn insert(pcscd: &Pcscd) -> anyhow::Result<VirtualCard> {
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    ensure!(card.wait_until(Duration::from_secs(5), |seen| seen.resets > 0), "pcscd does not see the card");
    Ok(card)
}

/// A card, and the broker that has taken it.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) card: VirtualCard,
    pub(crate) pcscd: Pcscd,
}

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let card = insert(&pcscd)?;
        let broker = Broker::start(Some(&pcscd), &[])?;
        broker.wait_for("READY")?;
        Ok(Self { broker, card, pcscd })
    }
}

impl Broker {
    /// Waits until the reader is in this state.
    pub(crate) fn wait_for(&self, state: &str) -> anyhow::Result<()> {
        self.wait_until(&format!("the reader is {state}"), |reader| reader["state"] == state)
    }

    /// Waits until so many callers wait for their turn.
    pub(crate) fn wait_for_waiters(&self, count: u64) -> anyhow::Result<()> {
        self.wait_until(&format!("{count} wait"), |reader| reader["waiter_count"] == count)
    }

    fn wait_until(&self, condition: &str, is_met: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let seen = self.run(&["--json", "status"])?;
            let status: Value = serde_json::from_str(&seen.out).unwrap_or_default();
            let readers = status["readers"].as_array().map_or(&[][..], Vec::as_slice);
            if readers.iter().any(|reader| reader["name"] == READER && is_met(reader)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not {condition}: {seen:?}\n{}", self.log());
        }
    }

    /// Starts a program that sends these commands as a unit, and prints the answers.
    pub(crate) fn unit(&self, commands: &[&str]) -> anyhow::Result<Program> {
        Program::spawn(&mut self.cardbroker(&[&["transmit", READER], commands].concat())?)
    }

    /// Runs a program that sends these commands as a unit to its end.
    pub(crate) fn answers(&self, commands: &[&str]) -> anyhow::Result<Run> {
        self.run(&[&["--json", "transmit", READER], commands].concat())
    }

    /// Starts a program with a session that reads commands from its standard input, a member of this isolation group.
    pub(crate) fn session(&self, group: &str, options: &[&str]) -> anyhow::Result<Program> {
        let mut command = self.cardbroker(&[&["session", READER], options].concat())?;
        Program::spawn(command.env(GROUP_VARIABLE, group))
    }

    /// Runs a unit of a member of this isolation group to its end, and returns its output.
    pub(crate) fn member(&self, group: &str, commands: &[&str]) -> anyhow::Result<Run> {
        let mut command = self.cardbroker(&[&["transmit", READER], commands].concat())?;
        run::run(command.env(GROUP_VARIABLE, group))
    }
}

/// The reason and the delivery of the failure of a program that writes JSON.
pub(crate) fn failure(run: &Run) -> anyhow::Result<String> {
    let line = run.out.lines().chain(run.err.lines()).last().context("no output")?;
    let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {run:?}"))?;
    let error = &value["error"];
    let word = |key: &str| error[key].as_str().with_context(|| format!("no {key}: {run:?}"));
    Ok(format!("{} {}", word("reason")?, word("delivery")?))
}
