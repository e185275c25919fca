//! `cardbroker doctor`: the programs of Windows that it asks, and the check of PC/SC whose output users of real
//! machines send.

use std::fs;

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    pcscd::Pcscd,
    run::{self, Run},
};
use serde_json::Value;

use super::{
    stage::{Stage, insert},
    wine::{self, program, windows},
};

const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\ScPnP";

/// Edits the policy of plug and play.
fn reg(arguments: &[&str]) -> anyhow::Result<Run> {
    windows("reg", &[&[arguments[0], POLICY, "/v", "EnableScPnP", "/f"], &arguments[1..]].concat())
}

#[test]
fn the_check_of_winscard_runs_to_its_end() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let _card = insert(&pcscd)?;
    let mut check = program("cardbroker")?;
    check.args(["doctor", "--winscard", "--no-wait", "--json"]).env("PCSCLITE_CSOCK_NAME", pcscd.socket());
    let run = run::run(&mut check)?;
    println!("{}", run.out);
    ensure!(run.code == Some(0), "{run:?}");
    let told: Value = serde_json::from_str(&run.out)?;
    ensure!(told["system"].as_str().is_some_and(|system| system.contains("Windows")), "{run:?}");
    let steps = told["steps"].as_array().context("no steps")?;
    let pipes = ["second pipe", "left pipe", "second user"];
    for expected in ["service", "readers", "waits", "announcer", "hold", "reset", "direct"].into_iter().chain(pipes) {
        let step = steps.iter().find(|step| step["step"] == expected);
        let step = step.with_context(|| format!("no step {expected}: {run:?}"))?;
        ensure!(step["outcome"] != "failed", "{expected}: {run:?}");
    }
    ensure!(steps.iter().all(|step| step["step"] != "end"), "{run:?}");
    // Wine grants every first instance.
    let left = steps.iter().find(|step| step["step"] == "left pipe").map(|step| step["text"].to_string());
    ensure!(left.is_some_and(|text| text.contains("disconnected, granted after ")), "{run:?}");
    Ok(())
}

#[test]
fn doctor_asks_windows_about_its_own_use_of_cards() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let plug_and_play = || -> anyhow::Result<String> {
        let run = stage.broker.run(&["--json", "doctor"])?;
        let told: Value = serde_json::from_str(&run.out)?;
        let findings = told["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let finding = findings.iter().find(|finding| finding["check"] == "plug and play");
        Ok(finding.with_context(|| format!("no plug and play: {run:?}"))?["name"].to_string())
    };
    ensure!(plug_and_play()?.contains("on-windows"));
    let added = reg(&["add", "/t", "REG_DWORD", "/d", "0"])?;
    let policy = plug_and_play();
    // A file for a maintainer, with the same findings.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report.txt");
    let written = stage.broker.run(&["report", "--yes", "-o", &wine::path(&file)]);
    let deleted = reg(&["delete"])?;
    ensure!(policy?.contains("off"), "reg.exe is understood: {added:?} {deleted:?}");
    let (written, report) = (written?, fs::read_to_string(&file).unwrap_or_default());
    ensure!(written.code == Some(0), "{written:?}");
    for expected in ["windows x86_64, 10.", "SCardSvr", "ok: off"] {
        ensure!(report.contains(expected), "no {expected}: {report}");
    }
    Ok(())
}
