//! Daemons that do not see who calls: in a user namespace, or behind a `/proc` that hides other users' processes. They
//! warn once, and every connection is a caller of its own.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    machine::Machine,
    run::{Run, run},
    users::may_be_several_users,
};
use serde_json::Value;

const OWNER: u32 = 4001;
const OTHER: u32 = 4002;
const SOCKET: &str = "/run/cardbroker/cardbroker.sock";

/// Lets everybody connect, and names a group, which must be looked up.
const RULES: &str = r#"
[listen]
socket_mode = "0666"

[[rule]]
name = "group"
principals = ["group:daemon"]
allow = ["see", "transmit"]

[[rule]]
name = "anyone"
principals = ["anyone"]
allow = ["see"]
"#;

const USER_IS_HIDDEN: &str = "a caller's user is unknown in the broker's user namespace";
const PROCESS_IS_HIDDEN: &str = "a caller's process is hidden from the broker";

/// The caller as the broker sees it, in the output of `cardbroker broker --json`.
fn caller(seen: &Run) -> anyhow::Result<Value> {
    ensure!(seen.code == Some(0), "{seen:?}");
    Ok(serde_json::from_str::<Value>(&seen.out)?["caller"].clone())
}

/// Starts a broker in a user namespace that knows only root, with a client in its folder for all users.
fn in_user_namespace(setup: Setup) -> anyhow::Result<Broker> {
    let broker = setup.run_by(&["unshare", "--user", "--map-root-user"]).open_folder()?.start()?;
    let client = broker.folder().join("cardbroker");
    fs::copy(program("cardbroker")?, &client)?;
    fs::set_permissions(client, Permissions::from_mode(0o755))?;
    Ok(broker)
}

/// Runs the client in the broker's folder as another user.
fn client(broker: &Broker, user: u32, arguments: &[&str]) -> anyhow::Result<Run> {
    let client = broker.folder().join("cardbroker");
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    run(command.arg(client).args(arguments).env("CARDBROKER_ENDPOINT", broker.endpoint()))
}

/// Asks the broker as another user.
fn ask(broker: &Broker, user: u32) -> anyhow::Result<Run> {
    client(broker, user, &["broker", "--json"])
}

#[test]
fn users_outside_of_the_brokers_namespace_count_by_connection() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    let broker = in_user_namespace(Setup::simulated(1)?.configuration(RULES))?;
    let known = caller(&ask(&broker, 0)?)?;
    assert_eq!((&known["principal"], &known["is_connection"]), (&"user 0".into(), &false.into()), "{known}");
    assert!(!broker.log().contains("hidden") && !broker.log().contains(USER_IS_HIDDEN), "{}", broker.log());
    for user in [OWNER, OTHER, OTHER] {
        let seen = caller(&ask(&broker, user)?)?;
        assert_eq!(seen["is_connection"], true, "{seen}");
        assert!(!seen["principal"].to_string().contains("6553"), "not the user `nobody`: {seen}");
    }
    assert_eq!(broker.settled_log().matches(USER_IS_HIDDEN).count(), 1, "{}", broker.log());
    Ok(())
}

#[test]
fn users_outside_of_the_brokers_namespace_get_no_private_door() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    let broker = in_user_namespace(Setup::simulated(1)?.configuration(RULES).door(""))?;
    let exec = |user| client(&broker, user, &["exec", "--private", "--", "echo", "started"]);
    let known = exec(0)?;
    assert_eq!((known.code, &*known.out), (Some(0), "started\n"), "{known:?}");
    let refused = exec(OTHER)?;
    assert!(refused.code == Some(1) && refused.out.is_empty(), "{refused:?}");
    assert!(refused.err.contains("private doors are for users"), "{refused:?}");
    Ok(())
}

#[test]
fn processes_behind_hidepid_count_by_connection() -> anyhow::Result<()> {
    let Some(machine) = Machine::new()? else {
        return Ok(writeln!(io::stderr(), "skipped: only root can be several users, in a mount namespace")?);
    };
    machine.hide_processes()?;
    machine.folder("/run/cardbroker", OWNER, 0o755)?;
    fs::write(machine.path("/run/open.toml"), RULES)?;
    let broker = machine.broker(OWNER, SOCKET, &["--config", "/run/open.toml", "--socket", SOCKET])?;
    let endpoint = format!("unix:{SOCKET}");
    let ask = |user| {
        let seen = run(&mut machine.command(user, "cardbroker", &["broker", "--json", "--endpoint", &endpoint]))?;
        caller(&seen)
    };
    let own = ask(OWNER)?;
    assert_eq!((&own["principal"], &own["is_connection"]), (&format!("user {OWNER}").into(), &false.into()), "{own}");
    assert!(!broker.log().contains(PROCESS_IS_HIDDEN), "{}", broker.log());
    for _ in 0..2 {
        let seen = ask(OTHER)?;
        let expected = (&Value::from(format!("user {OTHER}")), &Value::from(true));
        assert_eq!((&seen["principal"], &seen["is_connection"]), expected, "{seen}");
    }
    let log = broker.log();
    assert_eq!(log.matches(PROCESS_IS_HIDDEN).count(), 1, "{log}");
    log.lines()
        .find(|line| line.contains(PROCESS_IS_HIDDEN))
        .filter(|line| line.contains("WARN"))
        .context(log.clone())?;
    Ok(())
}
