//! `cardbroker doctor` and `cardbroker report`: what they find on machines of many kinds, and what a report leaves out.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup, program},
        machine::Machine,
        pcscd::Pcscd,
        programs::Program,
        run::{Run, cardbroker, run, run_with_input},
        users::may_be_several_users,
    },
};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

use crate::world::{COUNT, READER, Stage, tell, unit, wait_for};

const USER: u32 = 4001;
const RUNTIME: &str = "/run/user/4001";
const SYSTEM: &str = "/run/cardbroker/cardbroker.sock";

/// A user's view of a machine with a `/run` of its own; not told where this process may not make one.
fn on_machine(tell: impl FnOnce(&Machine) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // Tells the reason.
    if !may_be_several_users()? {
        return Ok(());
    }
    match Machine::new()? {
        Some(machine) => {
            machine.folder(RUNTIME, USER, 0o700)?;
            tell(&machine)
        }
        None => Ok(()),
    }
}

/// The findings of a run, which must have ended with this code.
fn findings(run: &Run, code: i32) -> anyhow::Result<Vec<Value>> {
    ensure!(run.code == Some(code) && run.err.is_empty(), "{run:?}");
    let told: Value = serde_json::from_str(&run.out)?;
    Ok(told["findings"].as_array().context("no findings")?.clone())
}

/// The finding of this name.
fn named(findings: &[Value], name: &str) -> anyhow::Result<Value> {
    let found = findings.iter().find(|finding| finding["name"] == name);
    found.cloned().with_context(|| format!("no {name}: {findings:?}"))
}

/// The findings of a user of a machine.
fn asked(machine: &Machine, user: u32, code: i32) -> anyhow::Result<Vec<Value>> {
    findings(&run(&mut machine.command(user, "cardbroker", &["doctor", "--json"]))?, code)
}

/// The findings about a broker, on a machine whose pcscd is this one.
fn findings_at(broker: &Broker, pcscd: &Pcscd, code: i32) -> anyhow::Result<Vec<Value>> {
    let mut doctor = cardbroker(&broker.endpoint(), &["doctor", "--json"])?;
    findings(&run(doctor.env("PCSCLITE_CSOCK_NAME", pcscd.socket()))?, code)
}

#[test]
fn without_a_broker_both_places_and_pcsc_are_named() -> anyhow::Result<()> {
    on_machine(|machine| {
        // The pcscd of a story that runs at the same time is none of this machine's.
        machine.hide_processes()?;
        let began = Instant::now();
        let found = asked(machine, USER, 8)?;
        assert!(began.elapsed() < Duration::from_secs(2), "it waited for a broker");
        let broker = named(&found, "not-running")?;
        let message = broker["message"].as_str().context("no message")?;
        assert!(message.contains("/run/user/4001/cardbroker/cardbroker.sock") && message.contains(SYSTEM), "{message}");
        assert_eq!((&broker["level"], &broker["steps"][0]), (&"problem".into(), &"cardbrokerd".into()));
        let pcsc = found.iter().find(|finding| finding["check"] == "PC/SC").context("nothing about PC/SC")?;
        assert_eq!(pcsc["steps"][0], "sudo systemctl enable --now pcscd.socket");
        let text = run(&mut machine.command(USER, "cardbroker", &["doctor"]))?;
        assert_eq!(text.code, Some(8));
        assert!(
            text.out.contains("                    > cardbrokerd\n") && text.out.ends_with("no warnings\n"),
            "{text:?}"
        );
        Ok(())
    })
}

#[test]
fn a_socket_of_root_alone_is_private() -> anyhow::Result<()> {
    on_machine(|machine| {
        machine.folder("/run/cardbroker", 0, 0o755)?;
        let _broker = machine.broker(0, SYSTEM, &["--config", "/dev/null", "--socket", SYSTEM])?;
        let private = named(&asked(machine, USER, 8)?, "private")?;
        assert!(private["message"].as_str().is_some_and(|text| text.contains("open to its owner only")), "{private}");
        assert!(private["steps"][0].as_str().is_some_and(|step| step.contains("listen.socket_mode")), "{private}");
        // The same broker, as its own user sees it.
        named(&asked(machine, 0, 0)?, "answers")?;
        Ok(())
    })
}

#[test]
fn a_user_outside_the_sockets_group_shall_join() -> anyhow::Result<()> {
    on_machine(|machine| {
        machine.folder("/run/cardbroker", 0, 0o755)?;
        fs::write(
            machine.path("/run/group.toml"),
            "listen.socket_mode = \"0660\"\nlisten.socket_group = \"daemon\"\n",
        )?;
        let _broker = machine.broker(0, SYSTEM, &["--config", "/run/group.toml", "--socket", SYSTEM])?;
        let outside = named(&asked(machine, USER, 8)?, "not-member")?;
        assert_eq!(outside["steps"][0], "sudo usermod --append --groups daemon 4001");
        assert!(outside["steps"][1].as_str().is_some_and(|step| step.contains("Log out and in again")), "{outside}");
        Ok(())
    })
}

#[test]
fn a_stopped_broker_is_silent_and_doctor_ends() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.start()?;
    broker.signal(Signal::STOP)?;
    let began = Instant::now();
    let found = findings(&broker.cardbroker(&["doctor", "--json"])?, 8)?;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let silent = found.iter().any(|finding| finding["level"] == "problem" && finding["check"] == "broker");
    assert!(silent, "{found:?}");
    broker.signal(Signal::CONT)?;
    named(&findings(&broker.cardbroker(&["doctor", "--json"])?, 0)?, "answers")?;
    Ok(())
}

#[test]
fn on_tcp_the_token_file_is_checked() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.tcp(&["ci"])?.start()?;
    let (endpoint, token) = (broker.tcp_endpoint()?, broker.token_file("ci").display().to_string());
    let doctor = |arguments: &[&str], code| {
        let arguments = [&["doctor", "--json"], arguments].concat();
        findings(&run(&mut cardbroker(&endpoint, &arguments)?)?, code)
    };
    let without = doctor(&[], 8)?;
    assert_eq!(named(&without, "no-file")?["steps"][1], "export CARDBROKER_TOKEN_FILE=FILE");
    let missing = doctor(&["--token-file", "/nowhere/token"], 8)?;
    assert_eq!(named(&missing, "unusable-file")?["steps"][0], "cardbroker token new NAME --out FILE");
    // Without rules the holder of a token sees no reader, but the broker answers.
    let with = doctor(&["--token-file", &token], 8)?;
    assert!(named(&with, "known")?["message"].as_str().is_some_and(|text| text.contains("token ci")), "{with:?}");
    named(&with, "none")?;
    Ok(())
}

#[test]
fn an_ended_pcscd_is_named_with_its_readers() -> anyhow::Result<()> {
    tell(async {
        let mut pcscd = Pcscd::start(2)?;
        let broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, READER, ReaderState::Empty).await?;
        named(&findings_at(&broker, &pcscd, 0)?, "serving")?;
        pcscd.kill()?;
        let deadline = Instant::now() + crate::world::LONG;
        let found = loop {
            let found = findings_at(&broker, &pcscd, 8);
            if found.is_ok() || Instant::now() > deadline {
                break found?;
            }
        };
        let ended = named(&found, "ended")?;
        assert_eq!(ended["steps"][0], "sudo systemctl restart pcscd.socket pcscd");
        Ok(())
    })
}

#[test]
fn a_foreign_holder_is_named_with_its_process() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(2)?;
        let name = pcscd.reader_name(0);
        // It holds the empty reader and takes the card before the broker, until its input closes.
        let arguments = ["hold", &*name, "--duration-ms", "600000"];
        let mut rival = Program::start(env!("CARGO_BIN_EXE_interferer"), &pcscd, &arguments)?;
        assert_eq!(rival.line()?, "holding");
        let broker = Setup::on(&pcscd)?.start()?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        wait_for(&broker, READER, ReaderState::HeldElsewhere).await?;
        let held = named(&findings_at(&broker, &pcscd, 8)?, "held-elsewhere")?;
        let message = held["message"].as_str().context("no message")?;
        let who = format!("\"interferer\" (process {}, ", rival.id());
        // Also without root these are processes of the same user.
        assert!(message.contains(&who) && !message.contains("cardbrokerd"), "{message}");
        assert_eq!(message.contains("the only one"), geteuid().is_root(), "{message}");
        assert_eq!(held["steps"], serde_json::json!([format!("kill {}", rival.id())]));
        rival.end()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        named(&findings_at(&broker, &pcscd, 0)?, "ready")?;
        Ok(())
    })
}

#[test]
fn a_report_has_no_user_no_process_and_no_path() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::pcsc(cardbroker_core::slot::Protocol::T1).await?;
        let client = stage.broker.client().await?;
        unit(&client, stage.reader, &[COUNT]).send().await?;
        let _session = client.open_session(stage.reader).open().await?;
        let path = stage.broker.folder().join("report.txt");
        let out = path.display().to_string();
        let written = stage.broker.cardbroker(&["report", "--yes", "-o", &out])?;
        assert_eq!((written.code, &*written.out), (Some(0), ""), "{written:?}");
        let text = fs::read_to_string(&path)?;
        assert_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
        for expected in ["  broker                  ok: answers\n", "session of process 1 of user 1", "  units "] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let pid = std::process::id().to_string();
        let broker = stage.broker.pid()?.as_raw_pid().to_string();
        let folder = stage.broker.folder().display().to_string();
        let reader = stage.reader.trim_start_matches("readers/");
        let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
        // A limit may be the number of a process, too.
        let lines = text.lines().filter(|line| !line.contains("max_") && !line.contains("_ms "));
        let words: Vec<_> = lines.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric())).collect();
        for private in [&*pid, &*broker, "root", "e2e", host.trim()] {
            assert!(!words.contains(&private), "{private}: {text}");
        }
        for private in [&*folder, reader, "/tmp", "/run", "/home"] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        Ok(())
    })
}

/// The end of `cardbroker report` at a terminal, which the program `script` makes, with this answer.
fn answered(out: &str, answer: &str) -> anyhow::Result<Run> {
    let program = format!("exec {} report -o {out}", program("cardbroker")?.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &program, "/dev/null"]).env("SHELL", "/bin/sh");
    script.env(ENDPOINT_VARIABLE, "unix:/nowhere/cardbroker.sock");
    run_with_input(&mut script, answer)
}

#[test]
fn a_report_is_shown_before_it_is_written() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.txt");
    let out = path.display().to_string();
    let declined = answered(&out, "n\n")?;
    assert!(declined.code == Some(1) && declined.out.contains("nothing was written"), "{declined:?}");
    assert!(!path.exists());
    let written = answered(&out, "y\n")?;
    assert_eq!(written.code, Some(0), "{written:?}");
    let text = fs::read_to_string(&path)?;
    let shown = written.out.replace("\r\n", "\n");
    assert!(shown.contains(&text) && text.lines().count() > 8, "{shown}");
    assert!(shown.find("Write this to").context("no question")? > shown.find("Doctor").context("no report")?);
    Ok(())
}

#[test]
fn a_report_is_written_only_with_consent() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.txt");
    let out = path.display().to_string();
    let report = |arguments: &[&str]| {
        let arguments = [&["report", "-o", &*out], arguments].concat();
        run_with_input(&mut cardbroker("unix:/nowhere/cardbroker.sock", &arguments)?, "y\n")
    };
    let unasked = report(&[])?;
    assert_eq!((unasked.code, &*unasked.out), (Some(2), ""));
    assert!(unasked.err.contains("--yes") && !path.exists(), "{unasked:?}");
    assert_eq!(report(&["--yes"])?.code, Some(0));
    let text = fs::read_to_string(&path)?;
    assert!(text.contains("  broker                  problem: not-running\n"), "{text}");
    let again = report(&["--yes"])?;
    assert!(again.code == Some(2) && again.err.contains("--force"), "{again:?}");
    assert_eq!(report(&["--yes", "--force"])?.code, Some(0));
    Ok(())
}
