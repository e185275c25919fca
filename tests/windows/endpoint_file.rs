//! Clients in Python, C++ and Node reach a broker for Windows by its endpoint file and TLS. They are programs of Linux:
//! gRPC in Python and C++ cannot use a pipe, and is not there for Windows here.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use cardbroker_client::GROUP_VARIABLE;
use cardbroker_proto::{ENDPOINT_VARIABLE, TOKEN_FILE_VARIABLE};
use cardbroker_tests::harness::{
    languages::{Language, language},
    pcscd::Pcscd,
    programs::Program,
};
use serde_json::Value;

use super::{
    stage::{READER, SELECT, insert},
    wine::{self, Broker, claim_endpoint_file, own_folder},
};

/// How long each program runs pairs.
const SECONDS: &str = "3";

/// Puts the file in the place of root's endpoint file, in a `/run` of the client's own, and becomes the client.
const AS_CLIENT: &str = "mount -t tmpfs -o mode=755 none /run && mkdir /run/cardbroker && \
                         cp \"$0\" /run/cardbroker/endpoint.json && exec \"$@\"";

/// A copy of the broker's endpoint file with endpoint, token and certificate as they are. Clients of Linux ask Linux
/// whether the broker has ended: the copy has the number that its process has there, and no start time, because Windows
/// counts that in other units.
fn for_linux(broker: &Broker) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut values: Value = serde_json::from_slice(&fs::read(own_folder()?.join("endpoint.json"))?)?;
    values["pid"] = broker.id().into();
    values.as_object_mut().and_then(|values| values.remove("start_time")).context("no start time")?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), values.to_string())?;
    Ok(file)
}

/// The program that runs pairs in this language, with the endpoint file as its only way to a broker.
fn pairs(language: &Language, file: &Path, manner: &str) -> anyhow::Result<Program> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", AS_CLIENT]).arg(file).arg(language.program("pairs"));
    command.args([READER, "--seconds", SECONDS]).args((manner == "session").then_some("--session"));
    Program::spawn(
        command.env(ENDPOINT_VARIABLE, "tcp:auto").env_remove(GROUP_VARIABLE).env_remove(TOKEN_FILE_VARIABLE),
    )
}

#[test]
fn programs_by_the_endpoint_file_and_one_on_the_pipe_break_no_pair() -> anyhow::Result<()> {
    // Some can be missing outside of CI.
    let names = ["python", "cpp", "node"];
    let languages: Vec<_> = names.iter().filter_map(|name| language(name).transpose()).collect::<Result<_, _>>()?;
    let _alone = claim_endpoint_file();
    let pcscd = Pcscd::start(1)?;
    let _card = insert(&pcscd)?;
    let broker = Broker::start(Some(&pcscd), &["--tcp", "auto"])?;
    broker.wait_for("READY")?;
    let file = for_linux(&broker)?;
    for manner in ["unit", "session"] {
        // All wait before the first pair, so that all run at the same time.
        let mut holder = broker.session("holder", &["--idle-timeout", "60s"])?;
        holder.say(SELECT)?;
        ensure!(holder.line()?.ends_with("9000"));
        let mut on_pipe = wine::program("family")?;
        on_pipe.args([manner, READER, SECONDS]).env(ENDPOINT_VARIABLE, broker.pipe()).env_remove(GROUP_VARIABLE);
        let mut programs = vec![("a program of Windows", Program::spawn(&mut on_pipe)?)];
        for language in &languages {
            programs.push((language.name, pairs(language, file.path(), manner)?));
        }
        broker.wait_for_waiters(programs.len().try_into()?)?;
        holder.close_input();
        for (name, program) in &mut programs {
            let counts = program.report().with_context(|| format!("{name}: {}", broker.log()))?;
            println!("{manner}, {name}: {counts}");
            ensure!(counts["broken"] == 0 && counts["pairs"].as_u64() > Some(10), "{name}: {counts}");
        }
        ensure!(holder.wait()?.success());
    }
    Ok(())
}
