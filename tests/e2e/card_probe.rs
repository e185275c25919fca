//! `cardbroker card --probe` at a PIV card: what it finds, and that it takes nothing from anyone.

use std::{env, time::Instant};

use anyhow::{Context, ensure};
use cardbroker_client::{GROUP_VARIABLE, hex};
use cardbroker_tests::{
    cards::piv,
    harness::run::{Run, cardbroker},
};
use serde_json::Value;

use crate::{
    piv_world::PivWorld,
    world::{LONGEST, READER, tell},
};

/// How often a story asks the card; `PROBES=1000` for a long run.
const PROBES: usize = 8;

fn probes() -> anyhow::Result<usize> {
    env::var("PROBES").ok().map_or(Ok(PROBES), |probes| Ok(probes.parse()?))
}

impl PivWorld {
    /// The answers of PIV to these commands behind SELECT, for a program of this group; each may fail.
    fn ask(&self, group: &str, commands: &[Vec<u8>]) -> anyhow::Result<Vec<String>> {
        let commands: Vec<_> = [piv::select()].iter().chain(commands).map(|command| hex::format(command)).collect();
        let sent: Vec<_> = commands.iter().map(String::as_str).collect();
        let arguments = [&["transmit", READER, "--stop-rule", "any"][..], &sent].concat();
        let mut command = cardbroker(&self.broker.endpoint(), &arguments)?;
        let output = command.env(GROUP_VARIABLE, group).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.lines().skip(1).map(str::to_owned).collect())
    }

    fn tries(&self) -> anyhow::Result<String> {
        self.ask("counter", &[vec![0x00, 0x20, 0x00, 0x80]])?.pop().context("no answer")
    }

    fn probe(&self) -> anyhow::Result<Run> {
        self.broker.cardbroker(&["card", READER, "--probe", "--json"])
    }
}

#[test]
fn a_probe_finds_piv_and_moves_no_counter() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::new().await?;
        // A wrong PIN: the counter is neither full nor empty.
        world.ask("guesser", &[piv::verify("000000")])?;
        let before = world.tries()?;
        ensure!(before.starts_with("63C"), "{before}");
        let first = world.probe()?;
        ensure!(first.code == Some(0) && first.err.is_empty(), "{first:?}");
        let card: Value = serde_json::from_str(&first.out)?;
        let found = |application: &&Value| application["is_found"] == true;
        let found: Vec<_> = card["applications"].as_array().context("none")?.iter().filter(found).collect();
        ensure!(found.len() == 1 && found[0]["name"] == "piv", "{first:?}");
        let tries = u64::from_str_radix(&before[3..], 16)?;
        assert_eq!(found[0]["pin_tries_left"], tries);
        for _ in 1..probes()? {
            let next = world.probe()?;
            ensure!((next.code, &next.out) == (Some(0), &first.out), "{next:?}");
        }
        assert_eq!(world.tries()?, before);
        assert_eq!(world.ask("owner", &[piv::verify(piv::PIN)])?, ["9000"]);
        Ok(())
    })
}

#[test]
fn a_probe_leaves_a_verified_pin_alone() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::new().await?;
        let verifier = world.verifier(Some("family"))?;
        let commands = world.card.commands_seen();
        for _ in 0..probes()? {
            let refused = world.probe()?;
            ensure!(refused.code == Some(1) && refused.err.contains("STATE_CHANGED"), "{refused:?}");
        }
        assert_eq!(world.card.commands_seen(), commands, "nothing was sent");
        let signed = world.ask("family", &[piv::sign(&[0x5A; 32])])?;
        ensure!(signed[0].ends_with("9000"), "{signed:?}");
        drop(verifier);
        // The group has ended: the card is nobody's again.
        let deadline = Instant::now() + LONGEST;
        loop {
            let probed = world.probe()?;
            if probed.code == Some(0) {
                return Ok(());
            }
            ensure!(probed.err.contains("STATE_CHANGED") && Instant::now() < deadline, "{probed:?}");
        }
    })
}
