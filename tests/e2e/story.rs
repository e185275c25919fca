//! The broker's purpose: programs that share a card break each other's pairs of commands, and through the broker none
//! does. (`direct` shows the first half.)

use std::process::{Command, Stdio};

use anyhow::Context;
use cardbroker_tests::harness::broker::program;

use crate::world::{PcscWorld, READER, tell};

const PROGRAMS: usize = 8;
const PAIRS: &str = "200";

/// Runs pairs in eight processes at the same time; returns their reports.
async fn reports(manner: &str) -> anyhow::Result<Vec<String>> {
    let world = PcscWorld::usual().await?;
    let pairs = program("pairs")?;
    let start = |_| {
        Command::new(&pairs)
            .args([READER, PAIRS, manner])
            .env("CARDBROKER_ENDPOINT", world.broker.endpoint())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start pairs")
    };
    let programs: Vec<_> = (0..PROGRAMS).map(start).collect::<Result<_, _>>()?;
    programs.into_iter().map(|program| Ok(String::from_utf8(program.wait_with_output()?.stdout)?)).collect()
}

#[test]
fn eight_programs_break_no_pair_as_raw_units() -> anyhow::Result<()> {
    tell(async {
        assert_eq!(reports("--as-unit").await?, ["0 of 200 pairs broken\n"; PROGRAMS]);
        Ok(())
    })
}

#[test]
fn eight_programs_break_no_pair_as_completed_commands() -> anyhow::Result<()> {
    tell(async {
        assert_eq!(reports("--completed").await?, ["0 of 200 pairs broken\n"; PROGRAMS]);
        Ok(())
    })
}

#[test]
fn the_same_programs_do_break_pairs_command_by_command() -> anyhow::Result<()> {
    tell(async {
        let reports = reports("--single").await?;
        assert!(reports.iter().any(|report| !report.starts_with("0 of")), "{reports:?}");
        Ok(())
    })
}
