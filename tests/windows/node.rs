//! Node for Windows in Wine: the client in Node over the pipe.

use std::process::Command;

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{languages::language, run};
use serde_json::Value;

use super::wine::{Broker, program};

/// A command that runs an example of the client in Node; `None` if the client cannot be built here.
fn example(name: &str) -> anyhow::Result<Option<Command>> {
    let Some(client) = language("node")? else { return Ok(None) };
    let node = run::run(&mut Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/windows/node-root.sh")))?;
    ensure!(node.code == Some(0), "{node:?}");
    let folder = client.programs.parent().context("no folder")?;
    let mut command = program(&format!("{}/bin/node", node.out.trim_end()))?;
    command.arg(format!("Z:{}", folder.join(format!("examples/{name}.mjs")).display()));
    Ok(Some(command))
}

#[test]
fn a_program_in_node_runs_pairs_over_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "1"])?;
    for manner in [None, Some("--session")] {
        let Some(mut pairs) = example("pairs")? else { return Ok(()) };
        pairs.args(["readers/simulated-reader-00", "--seconds", "1"]).args(manner);
        let pairs = run::run(pairs.env("CARDBROKER_ENDPOINT", broker.pipe()))?;
        let counts: Value = serde_json::from_str(&pairs.out).with_context(|| format!("{pairs:?}"))?;
        println!("{counts}");
        ensure!(counts["broken"] == 0 && counts["pairs"].as_u64() > Some(10), "{pairs:?}");
    }
    Ok(())
}

#[test]
fn a_program_in_node_takes_no_pipe_that_nobody_has_named() -> anyhow::Result<()> {
    let Some(mut pairs) = example("pairs")? else { return Ok(()) };
    pairs.args(["readers/simulated-reader-00", "--seconds", "1"]).env_remove("CARDBROKER_ENDPOINT");
    let pairs = run::run(&mut pairs)?;
    ensure!(pairs.code == Some(1) && pairs.err.contains(r"Local\cardbroker\endpoint.json"), "{pairs:?}");
    Ok(())
}
