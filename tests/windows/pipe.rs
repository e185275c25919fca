//! A broker for Windows with simulated readers, and the command line, over a named pipe.

use std::fs;

use anyhow::ensure;
use cardbroker_tests::harness::programs::Program;

use super::wine::{Broker, program};

const SELECT: &str = "00A4040006F0434152440100";

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
fn rules_concern_the_groups_of_the_clients_token() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("c.toml");
    // Every process has the first group, and none has the user of the second rule among its groups.
    fs::write(
        &config,
        "rule = [
            { name = 'in', principals = ['group:Everyone'], readers = ['simulated-reader-00'], allow = ['see'] },
            { name = 'out', principals = ['sid:S-1-5-20'], readers = ['simulated-reader-01'], allow = ['see'] },
        ]",
    )?;
    let config = format!("Z:{}", config.display()).replace('/', r"\");
    let broker = Broker::start(None, &["--simulate", "2", "--config", &config])?;
    let readers = broker.run(&["readers"])?;
    ensure!(readers.code == Some(0) && readers.out.contains("simulated-reader-00"), "{readers:?}");
    ensure!(!readers.out.contains("simulated-reader-01"), "{readers:?}");
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
    let made = cardbroker_tests::harness::run::run(program("cardbrokerd")?.args(["token", "new", "story"]))?;
    let removed = cardbroker_tests::harness::run::run(program("cardbrokerd")?.args(["token", "remove", "story"]))?;
    ensure!(made.code == Some(0) && removed.code == Some(0), "{made:?} {removed:?}");
    ensure!(made.err.contains(r"AppData\Local\cardbroker\tokens"), "{made:?}");
    Ok(())
}
