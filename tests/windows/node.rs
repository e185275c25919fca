//! Node for Windows in Wine: the client in Node over the pipe.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::harness::{languages::language, run};
use serde_json::Value;

use super::wine::{Broker, claim_endpoint_file, program};

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

/// Runs pairs in Node to their end; returns the exit code and the whole output. `None` as `example`.
fn pairs(endpoint: Option<&str>, manner: Option<&str>) -> anyhow::Result<Option<(Option<i32>, String)>> {
    let Some(mut pairs) = example("pairs")? else { return Ok(None) };
    pairs.args(["readers/simulated-reader-00", "--seconds", "1"]).args(manner).env_remove(ENDPOINT_VARIABLE);
    let output = tempfile::NamedTempFile::new()?;
    let run = run::run(pairs.env("WINE_OUTPUT", output.path()).envs(endpoint.map(|text| (ENDPOINT_VARIABLE, text))))?;
    Ok(Some((run.code, fs::read_to_string(output.path())?)))
}

#[test]
fn a_program_in_node_runs_pairs_over_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "1"])?;
    for manner in [None, Some("--session")] {
        let Some((code, output)) = pairs(Some(broker.pipe()), manner)? else { return Ok(()) };
        let line = output.lines().last().context("no output")?;
        let counts: Value = serde_json::from_str(line).with_context(|| format!("{code:?} {output}"))?;
        println!("{counts}");
        ensure!(code == Some(0) && counts["broken"] == 0 && counts["pairs"].as_u64() > Some(10), "{counts}");
    }
    Ok(())
}

#[test]
fn a_program_in_node_takes_no_pipe_that_nobody_has_named() -> anyhow::Result<()> {
    let _alone = claim_endpoint_file();
    let Some((code, output)) = pairs(None, None)? else { return Ok(()) };
    ensure!(code == Some(1) && output.contains(r"Local\cardbroker\endpoint.json"), "{code:?} {output}");
    Ok(())
}
