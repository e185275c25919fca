//! The broker's socket in containers: a bind-mounted folder in namespaces of processes, users and networks.

use anyhow::ensure;
use cardbroker_tests::harness::{machine::Machine, run::run, users::may_be_several_users};
use serde_json::Value;
use std::fs;

const USER: u32 = 4001;
const SYSTEM: &str = "/run/cardbroker/cardbroker.sock";

/// A container of the system: root has made it, and its processes are ordinary users.
const BY_ROOT: &[&str] = &["unshare", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"];

/// A container of a user: inside, this user is root and nobody else has a number.
const BY_USER: &[&str] =
    &["unshare", "--user", "--map-root-user", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--mount-proc"];

/// A container with another numbering of users, in which the same user has another number.
const RENUMBERED: &[&str] = &["unshare", "--user", "--map-user=77", "--map-group=77", "--pid", "--net", "--fork"];

#[test]
fn a_bind_mounted_socket_serves_containers_of_all_kinds() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    let Some(machine) = Machine::new()? else { return Ok(()) };
    let rules = format!(
        "listen.socket_mode = '0666'\n[[rule]]\n\
         name = 'one user'\nprincipals = ['uid:{USER}']\nallow = ['see', 'transmit']\n"
    );
    fs::write(machine.path("/run/rules.toml"), rules)?;
    machine.folder("/run/cardbroker", 0, 0o755)?;
    let _broker = machine.broker(0, SYSTEM, &["--config", "/run/rules.toml", "--socket", SYSTEM])?;

    // Where root's folders are root's in the container too, programs find and trust the default place.
    let unit = ["transmit", "reader", "00A4040006F0434152440100", "00B2010410"];
    let ran = run(&mut machine.command_by(BY_ROOT, USER, &[], "cardbroker", &unit))?;
    ensure!(ran.code == Some(0) && ran.out.ends_with("9000\n"), "{ran:?}");
    let stranger = run(&mut machine.command_by(BY_ROOT, 4002, &[], "cardbroker", &unit))?;
    ensure!(stranger.code == Some(4), "{stranger:?}");

    for kind in [BY_USER, RENUMBERED] {
        // Root has no number inside: its folders cannot be told from a stranger's.
        let refused = run(&mut machine.command_by(&[], USER, kind, "cardbroker", &unit))?;
        ensure!(refused.code != Some(0) && refused.err.contains("is not trusted"), "{kind:?}: {refused:?}");
        let named = [&["--endpoint", "unix:/run/cardbroker/cardbroker.sock"], &unit[..]].concat();
        let ran = run(&mut machine.command_by(&[], USER, kind, "cardbroker", &named))?;
        ensure!(ran.code == Some(0) && ran.out.ends_with("9000\n"), "{kind:?}: {ran:?}");
        let stranger = run(&mut machine.command_by(&[], 4002, kind, "cardbroker", &named))?;
        ensure!(stranger.code == Some(4), "{kind:?}: {stranger:?}");
    }
    Ok(())
}

#[test]
fn the_broker_numbers_a_contained_caller_as_its_own_system_does() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    let Some(machine) = Machine::new()? else { return Ok(()) };
    fs::write(machine.path("/run/open.toml"), "listen.socket_mode = '0666'\n")?;
    machine.folder("/run/cardbroker", 0, 0o755)?;
    let _broker = machine.broker(0, SYSTEM, &["--config", "/run/open.toml", "--socket", SYSTEM])?;
    let ask = ["--endpoint", "unix:/run/cardbroker/cardbroker.sock", "broker", "--json"];
    let mut numbers = Vec::new();
    for kind in [BY_USER, RENUMBERED, BY_USER] {
        let told = run(&mut machine.command_by(&[], USER, kind, "cardbroker", &ask))?;
        let broker: Value = serde_json::from_str(&told.out)?;
        assert_eq!(broker["caller"]["principal"], format!("user {USER}"), "{told:?}");
        numbers.push(broker["caller"]["process_id"].as_u64());
    }
    // Inside, each is the first process of its container.
    assert!(numbers.iter().all(|number| number.is_some_and(|number| number > 2)), "{numbers:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    Ok(())
}
