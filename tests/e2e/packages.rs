//! The Debian package on a clean system with systemd: a service for a group, from one command.

mod made;
mod polkit;
mod rpm;
mod stopped;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    LONGEST,
    clean_root::CleanRoot,
    languages::languages,
    programs::Program,
    run::{Run, run, wait},
};
use made::debian_package;
use serde_json::Value;

/// The top folder of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const SOCKET: &str = "/run/cardbroker/cardbroker.sock";

/// The permissions that `policy check` explains, by operation.
fn permissions(system: &CleanRoot, who: &str) -> anyhow::Result<String> {
    let question = ["cardbroker", "policy", "check", "--as", who, "--reader", "any", "--json"];
    let answered = run(&mut system.command_as("_cardbroker", &question))?;
    let answer: Value = serde_json::from_str(&answered.out).with_context(|| format!("{answered:?}"))?;
    let operations = answer["operations"].as_array().context("no operations")?;
    let allowed = operations.iter().filter(|operation| operation["allowed"] == true);
    let names: Vec<_> = allowed.filter_map(|operation| operation["operation"].as_str()).collect();
    Ok(names.join(" "))
}

/// The clients' first programs in all languages, as commands without a variable of Cardbroker.
fn first_programs() -> anyhow::Result<Vec<Vec<String>>> {
    let root = fs::canonicalize(ROOT)?;
    let root = root.display();
    let mut commands = vec!["cardbroker transmit reader 00A4040006F0434152440100 00B2010410".to_owned()];
    for language in languages()? {
        // Its programs are scripts for this machine's Python and Node; the system has its own.
        let built = language.programs.parent().context("no folder")?.display();
        commands.push(match language.name {
            "python" => format!("env PYTHONPATH={built}/package python3 {root}/client/python/examples/first.py"),
            "node" => format!("node {built}/examples/read.mjs"),
            _ => format!("{built}/bin/first"),
        });
    }
    Ok(commands.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect())
}

fn run_as(system: &CleanRoot, user: &str, command: &[String]) -> anyhow::Result<Run> {
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    run(&mut system.command_as(user, &command))
}

/// The files that were added, removed or changed.
fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let of = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, sign: char| -> Vec<String> {
        let differs = one.iter().filter(|(path, of)| other.get(*path) != Some(of));
        differs.map(|(path, of)| format!("{sign} {path} {of}")).collect()
    };
    [of(after, before, '+'), of(before, after, '-')].concat()
}

#[test]
fn a_clean_system_gets_a_service_for_a_group_and_keeps_nothing_of_it() -> anyhow::Result<()> {
    let Some(system) = CleanRoot::boot()? else { return Ok(()) };
    let before = system.files()?;

    let package = debian_package("0.1.0-0.1")?;
    let depends = run(Command::new("dpkg-deb").arg("--field").args([package.as_os_str(), "Depends".as_ref()]))?;
    assert!(depends.out.contains("libc6 (>= 2."), "{depends:?}");
    let told = install(&system, &package)?;
    assert!(told.contains("members of the group cardbroker may use every smart card"), "{told}");
    the_service_runs_with_the_packaged_rules(&system)?;
    a_member_uses_a_card_through_pcscd(&system)?;
    only_members_use_it(&system)?;
    the_socket_outlives_the_service(&system)?;
    an_upgrade_loses_no_unit(&system, &debian_package("0.1.0-0.2")?)?;

    system.shell("userdel --remove anna; userdel --remove bob; userdel --remove olga")?;
    system.shell("DEBIAN_FRONTEND=noninteractive dpkg --purge cardbroker")?;
    assert_eq!(differences(&before, &system.files()?), Vec::<String>::new());
    Ok(())
}

fn install(system: &CleanRoot, package: &Path) -> anyhow::Result<String> {
    let package = system.copy_in(package)?;
    system.shell(&format!("DEBIAN_FRONTEND=noninteractive dpkg --install {package} 2>&1"))
}

fn the_service_runs_with_the_packaged_rules(system: &CleanRoot) -> anyhow::Result<()> {
    for unit in ["cardbrokerd.socket", "cardbrokerd.service"] {
        system.wait_for_unit(unit, "active")?;
        assert_eq!(system.shell(&format!("systemctl is-enabled {unit}"))?, "enabled\n");
    }
    let owners = system.shell(&format!("stat --format '%U:%G %a' /run/cardbroker {SOCKET}"))?;
    assert_eq!(owners, "root:root 755\nroot:cardbroker 660\n");
    assert!(
        system.shell(&format!("getfacl --omit-header {SOCKET} 2>/dev/null"))?.contains("group:cardbroker-admin:rw-")
    );
    let user = "stat --format %U /proc/$(systemctl show --property MainPID --value cardbrokerd)";
    assert_eq!(system.shell(user)?, "_cardbroker\n");
    assert_eq!(system.shell("getent group cardbroker cardbroker-admin | cut -d: -f4")?, "\n\n");

    system.shell("useradd --create-home --groups cardbroker anna; useradd --create-home bob")?;
    system.shell("useradd --create-home --groups cardbroker-admin olga; systemctl reload cardbrokerd")?;
    let operator = "see diagnose trace release metrics configure";
    for (who, expected) in [
        ("user:anna", "see watch transmit session shared_group"),
        ("user:olga", operator),
        ("user:root", operator),
        ("user:bob", ""),
    ] {
        assert_eq!(permissions(system, who)?, expected, "{who}");
    }
    Ok(())
}

/// Through the system's pcscd. That of Debian 12 is built without polkit; `polkit.rs` tests the packaged rule.
fn a_member_uses_a_card_through_pcscd(system: &CleanRoot) -> anyhow::Result<()> {
    wait_for_pcsc(system, "SERVING")?;
    let _card = Program::spawn(&mut system.command(env!("CARGO_BIN_EXE_virtual-card")))?;
    let select = ["cardbroker", "transmit", "00-00", "00A4040006F0434152440100", "--wait-for-card"];
    let selected = run(&mut system.command_as("anna", &select))?;
    ensure!(selected.code == Some(0) && selected.out.ends_with("9000\n"), "{selected:?}\n{}", system.log());
    Ok(())
}

/// Waits until the broker sees PC/SC in this state.
fn wait_for_pcsc(system: &CleanRoot, state: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONGEST;
    loop {
        let status: Value = serde_json::from_str(&system.shell("cardbroker status --json")?)?;
        let pcsc = &status["broker"]["pcsc"];
        if pcsc["state"] == state {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{pcsc}\n{}", system.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn only_members_use_it(system: &CleanRoot) -> anyhow::Result<()> {
    simulate(system)?;
    for command in first_programs()? {
        let member = run_as(system, "anna", &command)?;
        let has_read = member.out.contains("9000") || member.out.contains("record");
        ensure!(member.code == Some(0) && has_read, "{command:?}: {member:?}\n{}", system.log());
        let stranger = run_as(system, "bob", &command)?;
        let is_refused = stranger.err.contains("no permission to open");
        assert!(stranger.code != Some(0) && stranger.out.is_empty() && is_refused, "{command:?}: {stranger:?}");
    }
    let operator = run_as(system, "olga", &["cardbroker".into(), "status".into()])?;
    assert!(operator.code == Some(0) && operator.out.contains("simulated-reader-00"), "{operator:?}");
    let doctor = run_as(system, "bob", &["cardbroker".into(), "doctor".into()])?;
    assert!(doctor.out.contains("usermod --append --groups cardbroker bob"), "{doctor:?}");
    assert!(doctor.out.contains("Members of cardbroker may use every card"), "{doctor:?}");
    Ok(())
}

/// Lets the service serve a simulated reader, as an administrator would, with a drop-in.
fn simulate(system: &CleanRoot) -> anyhow::Result<()> {
    system.shell(
        "mkdir -p /etc/systemd/system/cardbrokerd.service.d
        cd /etc/systemd/system/cardbrokerd.service.d
        daemon='/usr/bin/cardbrokerd --config /etc/cardbroker/cardbrokerd.toml --simulate 1'
        printf '[Service]\\nExecStart=\\nExecStart=%s\\n' \"$daemon\" \\
            >simulate.conf
        systemctl daemon-reload; systemctl restart cardbrokerd",
    )?;
    Ok(())
}

fn the_socket_outlives_the_service(system: &CleanRoot) -> anyhow::Result<()> {
    system.shell("systemctl stop cardbrokerd.service 2>/dev/null")?;
    system.wait_for_unit("cardbrokerd.service", "inactive")?;
    let started = run(&mut system.command_as("anna", &["cardbroker", "readers"]))?;
    assert!(started.code == Some(0) && started.out.contains("simulated-reader-00"), "{started:?}\n{}", system.log());
    system.wait_for_unit("cardbrokerd.service", "active")
}

fn wait_for_units(system: &CleanRoot, count: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONGEST;
    while system.shell("cat /tmp/units 2>/dev/null || true")?.lines().count() < count {
        ensure!(Instant::now() < deadline, "fewer than {count} units: {}", system.log());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A loop runs one program after the other, each with one unit, while the package is upgraded.
fn an_upgrade_loses_no_unit(system: &CleanRoot, package: &Path) -> anyhow::Result<()> {
    // A request that arrives while the daemon stops is refused and not sent; the loop goes on.
    let script = "until [ -e /tmp/enough ]; do
        if said=$(cardbroker transmit reader 00A4040006F0434152440100 00B2010410 2>&1); then echo done
        else case $said in *'broker is stopping'*) echo again ;; *) echo \"lost: $said\" ;; esac
        fi >>/tmp/units; done";
    let mut units = system.command_as("anna", &["sh", "-c", script]).spawn()?;
    let ended = |count: usize| wait_for_units(system, count);
    ended(10)?;
    let serving = |system: &CleanRoot| system.shell("systemctl show --property MainPID --value cardbrokerd.service");
    let first = serving(system)?;
    install(system, package)?;
    system.wait_for_unit("cardbrokerd.service", "active")?;
    assert_ne!(first, serving(system)?, "the new version runs");
    ended(system.shell("cat /tmp/units")?.lines().count() + 10)?;
    system.shell("touch /tmp/enough")?;
    wait(&mut units, LONGEST)?;
    let units = system.shell("cat /tmp/units")?;
    assert!(!units.contains("lost"), "{units}\n{}", system.log());
    assert!(system.shell("dpkg-query --show cardbroker")?.contains("0.1.0-0.2"));
    Ok(())
}
