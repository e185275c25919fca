//! A broker for Windows with simulated readers, and the command line, over a named pipe.

use std::fs;

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{programs::Program, run};

use super::{
    stage::SELECT,
    wine::{self, Broker, program},
};

#[test]
fn the_command_line_uses_cards_over_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "2"])?;
    let readers = broker.run(&["readers"])?;
    ensure!(readers.code == Some(0) && readers.out.contains("simulated-reader-01"), "{readers:?}");
    let answer = broker.run(&["transmit", "simulated-reader-00", SELECT])?;
    ensure!(answer.code == Some(0) && answer.out.contains("9000"), "{answer:?}");
    let endpoint = broker.pipe().replace('\\', "/");
    let other_form = super::wine::run(&format!("npipe://{endpoint}"), &["readers"])?;
    ensure!(other_form.code == Some(0), "{other_form:?}");
    Ok(())
}

#[test]
fn a_watch_follows_the_readers_over_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "2"])?;
    let mut watch = Program::spawn(&mut broker.cardbroker(&["watch"])?)?;
    let lines = [watch.line()?, watch.line()?];
    ensure!(lines.iter().all(|line| line.contains("simulated-reader-")), "{lines:?}");
    Ok(())
}

#[test]
fn the_broker_knows_its_own_user_at_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "1"])?;
    let seen = broker.run(&["--json", "broker"])?;
    ensure!(seen.code == Some(0) && !seen.out.contains("unknown user"), "{seen:?}");
    Ok(())
}

#[test]
fn a_program_in_c_uses_a_card_over_the_pipe() -> anyhow::Result<()> {
    let broker = Broker::start(None, &["--simulate", "1"])?;
    let first = run::run(program("c-first")?.env("CARDBROKER_ENDPOINT", broker.pipe()))?;
    ensure!(first.code == Some(0) && first.out.trim_end().ends_with("9000"), "{first:?}");
    Ok(())
}

#[test]
fn the_c_interface_passes_its_tests_over_the_pipe() -> anyhow::Result<()> {
    for test in ["c-interface-test", "c-threads-test"] {
        let broker = Broker::start(None, &["--simulate", "2"])?;
        let run = run::run(program(test)?.env("CARDBROKER_ENDPOINT", broker.pipe()))?;
        ensure!(run.code == Some(0) && run.out.trim_end().ends_with(": done"), "{test}: {run:?}");
    }
    Ok(())
}

#[test]
fn a_rule_with_a_sid_concerns_the_clients_user() -> anyhow::Result<()> {
    let seen = Broker::start(None, &["--simulate", "1"])?.run(&["--json", "broker"])?;
    let sid = seen.out.split("user ").nth(1).and_then(|rest| rest.split('"').next()).context("no user")?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("c.toml");
    // The second rule is for another user, and only a SID that the system knows as a user's can be denied anything.
    let rule = |sid, reader| {
        format!("{{ name = 'r{reader}', principals = ['sid:{sid}'], readers = ['{reader}'], deny = ['all'] }}")
    };
    let rules = [rule(sid, "simulated-reader-00"), rule("S-1-5-20", "simulated-reader-01")];
    fs::write(&config, format!("rule = [{}]", rules.join(", ")))?;
    let config = wine::path(&config);
    let broker = Broker::start(None, &["--simulate", "2", "--config", &config])?;
    let readers = broker.run(&["readers"])?;
    ensure!(readers.code == Some(0) && readers.out.contains("simulated-reader-01"), "{readers:?}");
    ensure!(!readers.out.contains("simulated-reader-00"), "{readers:?}");
    Ok(())
}

#[test]
fn ctrl_c_drains_the_broker() -> anyhow::Result<()> {
    let mut broker = Broker::start(None, &["--simulate", "1"])?;
    let status = broker.interrupt()?;
    ensure!(status.code() == Some(0) && broker.log().contains("stopped"), "{status}: {}", broker.log());
    Ok(())
}

#[test]
fn a_second_broker_does_not_start_on_the_pipe() -> anyhow::Result<()> {
    let mut first = Broker::start(None, &["--simulate", "1"])?;
    let mut second = Broker::spawn(first.pipe(), None, &["--simulate", "1"])?;
    let status = second.wait()?;
    ensure!(status.code() == Some(4) && second.log().contains("already running"), "{status}: {}", second.log());
    first.interrupt()?;
    // The lock goes with its owner.
    let mut third = Broker::spawn(first.pipe(), None, &["--simulate", "1"])?;
    let readers = third.run(&["readers"])?;
    ensure!(readers.code == Some(0), "{readers:?}");
    third.interrupt()?;
    Ok(())
}

#[test]
fn files_are_in_the_users_folder() -> anyhow::Result<()> {
    let made = run::run(program("cardbrokerd")?.args(["token", "new", "story"]))?;
    let removed = run::run(program("cardbrokerd")?.args(["token", "remove", "story"]))?;
    ensure!(made.code == Some(0) && removed.code == Some(0), "{made:?} {removed:?}");
    ensure!(made.err.contains(r"AppData\Local\cardbroker\tokens"), "{made:?}");
    Ok(())
}
