//! A user beside the installed package: the system's configuration is root's and the service's, and nobody else's.

use std::{
    fs,
    process::{Command, Stdio},
};

use cardbroker_tests::harness::{machine::Machine, run::run};

const USER: u32 = 4_001;
const SYSTEMS: &str = "/etc/cardbroker/cardbrokerd.toml";

/// A machine with the system's configuration, and the folders of a user.
fn machine() -> anyhow::Result<Option<Machine>> {
    let Some(machine) = Machine::new()? else { return Ok(None) };
    machine.install_configuration()?;
    for folder in ["/run/own", &format!("/run/user/{USER}")] {
        machine.folder(folder, USER, 0o700)?;
    }
    Ok(Some(machine))
}

/// A program of a user with a home.
fn own(machine: &Machine, user: u32, name: &str, arguments: &[&str]) -> Command {
    let mut command = machine.command(user, name, arguments);
    command.env("HOME", "/run/own");
    command
}

#[test]
fn a_users_own_broker_leaves_the_systems_configuration_alone() -> anyhow::Result<()> {
    let Some(machine) = machine()? else { return Ok(()) };
    let new = run(&mut own(&machine, USER, "cardbroker", &["token", "new", "a"]))?;
    assert!(new.code == Some(0) && new.err.contains("to /run/own/.config/cardbroker/tokens"), "{new:?}");
    let shown = run(&mut own(&machine, USER, "cardbrokerd", &["--check-config", "--tcp", "auto"]))?;
    let own_tokens = "tokens = \"/run/own/.config/cardbroker/tokens\"";
    assert!(shown.code == Some(0) && shown.out.contains(own_tokens) && !shown.out.contains("[[rule]]"), "{shown:?}");
    let mut broker = own(&machine, USER, "cardbrokerd", &["--simulate", "1", "--tcp", "auto"]);
    let mut broker = broker.stderr(Stdio::null()).spawn()?;
    let listed = run(&mut own(&machine, USER, "cardbroker", &["readers", "--connect-timeout", "20s"]))?;
    broker.kill()?;
    broker.wait()?;
    assert!(listed.code == Some(0) && listed.out.contains("simulated-reader-00"), "{listed:?}");
    // Its own file counts, and is named in a mistake.
    fs::write(machine.path("/run/own/.config/cardbroker/cardbrokerd.toml"), "[nonsense]")?;
    let broken = run(&mut own(&machine, USER, "cardbrokerd", &["--check-config"]))?;
    assert!(broken.err.contains("/run/own/.config/cardbroker/cardbrokerd.toml:1:"), "{broken:?}");
    Ok(())
}

#[test]
fn an_explanation_of_the_policy_says_whose_it_is() -> anyhow::Result<()> {
    let Some(machine) = machine()? else { return Ok(()) };
    let asked = run(&mut own(&machine, USER, "cardbroker", &["policy", "check"]))?;
    let note = format!("that of the system's broker is explained by --config {SYSTEMS}\n");
    assert!(asked.code == Some(0) && asked.err.ends_with(&note) && asked.out.contains("rule \"default\""), "{asked:?}");
    // This machine lacks the groups of the package: the error shows which file was read.
    for (user, arguments) in [(USER, &["policy", "check", "--config", SYSTEMS][..]), (0, &["policy", "check"])] {
        let asked = run(&mut own(&machine, user, "cardbroker", arguments))?;
        assert!(asked.code == Some(3) && asked.err.contains(&format!("cardbrokerd: {SYSTEMS}:")), "{asked:?}");
    }
    let served = run(&mut own(&machine, 0, "cardbrokerd", &["--check-config"]))?;
    assert!(served.code == Some(3) && served.err.contains(SYSTEMS), "{served:?}");
    Ok(())
}
