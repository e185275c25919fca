//! Finding the broker at the default places, and trust in what is there. Each story has a machine with its own `/run`.

use std::{
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    machine::{Machine, MachineBroker},
    run::{Run, run, run_with_input},
};
use serde_json::Value;

use crate::world::LONG;

const READER: &str = "simulated-reader-00";
const USER: u32 = 4001;
const OTHER: u32 = 4002;
const STRANGER: u32 = 4666;
const RUNTIME: &str = "/run/user/4001";
const OWN: &str = "/run/user/4001/cardbroker/cardbroker.sock";
const SYSTEM: &str = "/run/cardbroker/cardbroker.sock";
/// A VERIFY, which a false broker must not see.
const PIN: &str = "0020008006313233343536\n";
/// Lets every user connect and do everything.
const OPEN: &str = r#"
[listen]
socket_mode = "0666"

[[rule]]
name = "open"
principals = ["anyone"]
allow = ["all"]
"#;

fn story(tell: impl FnOnce(&Machine) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match Machine::new()? {
        Some(machine) => {
            machine.folder(RUNTIME, USER, 0o700)?;
            tell(&machine)
        }
        None => Ok(writeln!(io::stderr(), "skipped: only root can be several users, in a mount namespace")?),
    }
}

/// The system's broker, open to all users, of `user`: root, or the one to whom root gave the folder.
fn system_broker(machine: &Machine, user: u32) -> anyhow::Result<MachineBroker> {
    machine.folder("/run/cardbroker", user, 0o755)?;
    machine.broker(user, SYSTEM, &["--config", &open(machine)?, "--socket", SYSTEM])
}

/// A configuration file that opens the socket.
fn open(machine: &Machine) -> anyhow::Result<String> {
    fs::write(machine.path("/run/open.toml"), OPEN)?;
    Ok("/run/open.toml".into())
}

/// `cardbroker` of that user, which does not wait for a broker.
fn client(machine: &Machine, user: u32, arguments: &[&str]) -> Command {
    machine.command(user, "cardbroker", &[arguments, &["--connect-timeout", "0s"]].concat())
}

fn readers(machine: &Machine, user: u32) -> anyhow::Result<Run> {
    run(&mut client(machine, user, &["readers"]))
}

fn is_found(run: &Run) {
    let listed = run.out.lines().filter(|line| line.starts_with(READER)).count();
    assert_eq!((run.code, listed, &*run.err), (Some(0), 1, ""), "{run:?}");
}

/// The client found no broker; its message is one line with this text.
fn is_refused(run: &Run, text: &str) {
    assert!(run.err.contains(text) && run.err.lines().count() == 1, "{text}: {run:?}");
    assert_eq!((run.code, &*run.out), (Some(3), ""), "{run:?}");
}

#[test]
fn the_default_socket_is_private_and_found_by_clients() -> anyhow::Result<()> {
    story(|machine| {
        let broker = machine.broker(USER, OWN, &[])?;
        let mode = |path| anyhow::Ok(fs::metadata(machine.path(path))?.mode() & 0o7777);
        assert_eq!((mode(OWN)?, mode("/run/user/4001/cardbroker")?), (0o600, 0o700));
        is_found(&readers(machine, USER)?);
        is_found(&run(client(machine, USER, &["readers"]).env("XDG_RUNTIME_DIR", RUNTIME))?);
        // An empty endpoint counts as none.
        is_found(&run(client(machine, USER, &["readers"]).env("CARDBROKER_ENDPOINT", ""))?);
        assert!(!broker.log().contains("the system's broker"), "{}", broker.log());
        Ok(())
    })
}

#[test]
fn a_refused_broker_changes_nothing_in_the_default_folder() -> anyhow::Result<()> {
    story(|machine| {
        let _first = machine.broker(USER, OWN, &[])?;
        // As if another configuration had let everyone in.
        let folder = machine.path("/run/user/4001/cardbroker");
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let refused = run(&mut machine.command(USER, "cardbrokerd", &["--simulate", "1", "--config", "/dev/null"]))?;
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert_eq!(fs::metadata(&folder)?.mode() & 0o7777, 0o755, "the folder is the first broker's");
        is_found(&readers(machine, USER)?);
        Ok(())
    })
}

#[test]
fn a_runtime_folder_elsewhere_is_used() -> anyhow::Result<()> {
    story(|machine| {
        machine.folder("/run/elsewhere", USER, 0o700)?;
        let socket = "/run/elsewhere/cardbroker/cardbroker.sock";
        let mut daemon = machine.command(USER, "cardbrokerd", &["--simulate", "1", "--check-config"]);
        let shown = run(daemon.env("XDG_RUNTIME_DIR", "/run/elsewhere"))?;
        assert!(shown.out.contains(&format!("socket = \"{socket}\"")), "{shown:?}");
        let _broker = machine.broker(USER, socket, &["--socket", socket])?;
        is_found(&run(client(machine, USER, &["readers"]).env("XDG_RUNTIME_DIR", "/run/elsewhere"))?);
        Ok(())
    })
}

#[test]
fn without_a_runtime_folder_the_daemon_asks_for_a_socket() -> anyhow::Result<()> {
    story(|machine| {
        let refused = run(&mut machine.command(OTHER, "cardbrokerd", &["--simulate", "1", "--config", "/dev/null"]))?;
        assert_eq!(refused.code, Some(5), "{refused:?}");
        assert!(refused.err.contains("name a socket with --socket or listen.socket"), "{refused:?}");
        // Neither place exists: both are named, each with what was found.
        let nowhere = "no broker at unix:/run/user/4002/cardbroker/cardbroker.sock (no such file) or \
                       unix:/run/cardbroker/cardbroker.sock (no such file): start it";
        is_refused(&readers(machine, OTHER)?, nowhere);
        Ok(())
    })
}

#[test]
fn the_daemon_refuses_a_default_folder_that_clients_do_not_trust() -> anyhow::Result<()> {
    story(|machine| {
        machine.folder("/run/shared", 0, 0o1777)?;
        let mut daemon = machine.command(USER, "cardbrokerd", &["--simulate", "1", "--config", "/dev/null"]);
        let refused = run(daemon.env("XDG_RUNTIME_DIR", "/run/shared"))?;
        assert_eq!(refused.code, Some(5), "{refused:?}");
        assert!(
            refused.err.contains("the runtime folder /run/shared belongs to root, not to this user"),
            "{refused:?}"
        );
        Ok(())
    })
}

#[test]
fn where_both_brokers_answer_both_are_named() -> anyhow::Result<()> {
    story(|machine| {
        let _system = system_broker(machine, 0)?;
        is_found(&readers(machine, USER)?);
        let own = machine.broker(USER, OWN, &[])?;
        let warning = "the system's broker serves, too: a reader belongs to the broker that takes it first";
        assert!(own.log().contains(warning), "{}", own.log());

        let note = format!("these are the readers of unix:{OWN}; the system's broker answers at unix:{SYSTEM}, too");
        let told = readers(machine, USER)?;
        assert!(told.code == Some(0) && told.err.starts_with(&format!("cardbroker: {note}")), "{told:?}");
        let told = run(&mut client(machine, USER, &["readers", "--json"]))?;
        let line: Value = serde_json::from_str(&told.err)?;
        assert!(line["note"].as_str().context("no note")?.starts_with(&note), "{told:?}");
        // A named broker is no search.
        is_found(&run(&mut client(machine, USER, &["readers", "--endpoint", &format!("unix:{OWN}")]))?);
        is_found(&readers(machine, OTHER)?);
        Ok(())
    })
}

#[test]
fn a_dead_socket_of_the_user_leads_to_the_systems_broker() -> anyhow::Result<()> {
    story(|machine| {
        drop(machine.broker(USER, OWN, &[])?);
        assert!(machine.path(OWN).exists(), "a killed broker leaves its socket");
        let refused = format!("no broker at unix:{OWN} (connection refused; {OWN} belongs to uid {USER}) or unix:");
        is_refused(&readers(machine, USER)?, &refused);
        let _system = system_broker(machine, 0)?;
        is_found(&readers(machine, USER)?);
        Ok(())
    })
}

#[test]
fn a_client_stays_with_the_broker_that_it_found() -> anyhow::Result<()> {
    story(|machine| {
        let _system = system_broker(machine, 0)?;
        let own = machine.broker(USER, OWN, &[])?;
        let mut watch = client(machine, USER, &["watch", "--json"]).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
        let mut event = |kind: &str| -> anyhow::Result<Value> {
            loop {
                let line: Value = serde_json::from_str(&lines.next().context("the watch has ended")??)?;
                if line["event"] == kind {
                    return Ok(line);
                }
            }
        };
        event("updated")?;
        own.stop()?;
        // Not even while its broker is away does it go to the other one.
        event("disconnected")?;
        let _own = machine.broker(USER, OWN, &[])?;
        event("connected")?;
        watch.kill()?;
        watch.wait()?;
        Ok(())
    })
}

#[test]
fn a_client_waits_for_a_broker_that_starts() -> anyhow::Result<()> {
    story(|machine| {
        let mut early = machine.command(USER, "cardbroker", &["readers", "--connect-timeout", "20s"]);
        let early = early.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let _broker = machine.broker(USER, OWN, &[])?;
        let told = early.wait_with_output()?;
        assert!(told.status.success(), "{told:?}");
        Ok(())
    })
}

#[test]
fn root_uses_only_the_systems_broker() -> anyhow::Result<()> {
    story(|machine| {
        let _own = machine.broker(USER, OWN, &[])?;
        // `sudo -E` keeps the variable of the user.
        let mut kept = client(machine, 0, &["readers"]);
        is_refused(&run(kept.env("XDG_RUNTIME_DIR", RUNTIME))?, &format!("no broker at unix:{SYSTEM} (no such file)"));
        let _system = system_broker(machine, 0)?;
        is_found(&run(&mut kept)?);
        Ok(())
    })
}

#[test]
fn the_runtime_folder_of_another_user_is_not_used() -> anyhow::Result<()> {
    story(|machine| {
        let _own = machine.broker(USER, OWN, &[])?;
        // Not even where the system's broker would answer.
        let _system = system_broker(machine, 0)?;
        let kept = run(client(machine, OTHER, &["readers"]).env("XDG_RUNTIME_DIR", RUNTIME))?;
        is_refused(
            &kept,
            &format!("the runtime folder {RUNTIME} belongs to uid {USER}, not to this user: set XDG_RUNTIME_DIR"),
        );
        Ok(())
    })
}

#[test]
fn a_socket_without_permission_ends_the_search() -> anyhow::Result<()> {
    story(|machine| {
        machine.folder("/run/cardbroker", 0, 0o755)?;
        let system = machine.broker(0, SYSTEM, &[])?;
        // A folder without a socket group is closed.
        is_refused(&readers(machine, USER)?, &format!("no permission to open unix:{SYSTEM}"));
        fs::set_permissions(machine.path("/run/cardbroker"), Permissions::from_mode(0o755))?;
        is_refused(&readers(machine, USER)?, &format!("no permission to open unix:{SYSTEM}; {SYSTEM} belongs to root"));
        drop(system);

        let _system = system_broker(machine, 0)?;
        let _own = machine.broker(USER, OWN, &[])?;
        fs::set_permissions(machine.path(OWN), Permissions::from_mode(0o000))?;
        is_refused(&readers(machine, USER)?, &format!("no permission to open unix:{OWN}; {OWN} belongs to uid {USER}"));
        Ok(())
    })
}

#[test]
fn a_broker_of_a_user_appointed_by_root_is_trusted() -> anyhow::Result<()> {
    story(|machine| {
        let _system = system_broker(machine, OTHER)?;
        is_found(&readers(machine, USER)?);
        is_found(&readers(machine, 0)?);
        Ok(())
    })
}

/// A change that a stranger may make to the way to a default socket, and the client's words for it.
struct Squat {
    what: &'static str,
    /// The stranger's folder, with its mode; the stranger's broker is in it.
    folder: (&'static str, u32),
    /// Changes made after the false broker has started.
    prepare: fn(&Machine) -> anyhow::Result<()>,
    told: &'static str,
}

const SQUATS: [Squat; 8] = [
    Squat {
        what: "the runtime folder itself",
        folder: ("/run/user/4001/cardbroker", 0o755),
        prepare: |machine| machine.folder(RUNTIME, STRANGER, 0o755),
        told: "the runtime folder /run/user/4001 belongs to uid 4666, not to this user",
    },
    Squat {
        what: "a folder in a runtime folder that others can write to",
        folder: ("/run/user/4001/cardbroker", 0o755),
        prepare: |machine| machine.folder(RUNTIME, USER, 0o777),
        told: "other users can write to /run/user/4001 (its mode is 0777)",
    },
    Squat {
        what: "a folder in the user's runtime folder",
        folder: ("/run/user/4001/cardbroker", 0o755),
        prepare: |machine| machine.folder(RUNTIME, USER, 0o711),
        told: "/run/user/4001/cardbroker belongs to uid 4666, neither to root nor to this user",
    },
    Squat {
        what: "a link to the stranger's folder",
        folder: ("/run/stranger", 0o755),
        prepare: |machine| machine.link("/run/user/4001/cardbroker", "/run/stranger"),
        told: "/run/user/4001/cardbroker is a symbolic link",
    },
    Squat {
        what: "a link to the stranger's socket",
        folder: ("/run/stranger", 0o755),
        prepare: |machine| {
            machine.folder("/run/user/4001/cardbroker", USER, 0o700)?;
            machine.link(OWN, "/run/stranger/cardbroker.sock")
        },
        told: "/run/user/4001/cardbroker/cardbroker.sock is a symbolic link",
    },
    Squat {
        what: "all runtime folders",
        folder: ("/run/stranger", 0o755),
        prepare: |machine| machine.folder("/run/user", STRANGER, 0o755),
        told: "/run/user belongs to uid 4666, neither to root nor to this user",
    },
    Squat {
        what: "the system's folder, made by a stranger",
        folder: ("/run/cardbroker", 0o755),
        prepare: |machine| machine.folder("/run", 0, 0o1777),
        told: "other users can write to /run (its mode is 1777)",
    },
    Squat {
        what: "the socket in the user's own folder",
        folder: ("/run/stranger", 0o755),
        prepare: |machine| {
            machine.folder("/run/user/4001/cardbroker", USER, 0o700)?;
            // A second name of the socket: its broker serves it still.
            Ok(fs::hard_link(machine.path("/run/stranger/cardbroker.sock"), machine.path(OWN))?)
        },
        told: "unix:/run/user/4001/cardbroker/cardbroker.sock is not trusted: uid 4666 serves there",
    },
];

#[test]
fn a_strangers_broker_gets_nothing() -> anyhow::Result<()> {
    for squat in SQUATS {
        story(|machine| {
            let (folder, mode) = squat.folder;
            machine.folder(folder, STRANGER, mode)?;
            if folder.starts_with(RUNTIME) {
                machine.folder(RUNTIME, STRANGER, 0o755)?;
            }
            let socket = format!("{folder}/cardbroker.sock");
            let fake = machine.broker(STRANGER, &socket, &["--config", &open(machine)?, "--socket", &socket])?;
            (squat.prepare)(machine)?;
            let transmit = ["transmit", READER, "-"];
            let told = run_with_input(client(machine, USER, &transmit).env("CARDBROKER_GROUP", "secret-key"), PIN)?;
            assert!(told.err.contains(squat.told), "{}: {told:?}", squat.what);
            assert_eq!((told.code, &*told.out), (Some(3), ""), "{}", squat.what);
            let log = fake.log();
            assert!(!log.contains(&format!("of user {USER}")) || squat.told.contains("serves there"), "{log}");
            assert!(!log.contains("unit") && !log.contains("group"), "{}: {log}", squat.what);
            // Named, it is trusted: the false broker works.
            let named = format!("unix:{}", if squat.told.contains("serves there") { OWN } else { &socket });
            let named = run(&mut client(
                machine,
                if named.contains(OWN) { 0 } else { STRANGER },
                &["readers", "--endpoint", &named],
            ))?;
            is_found(&named);
            Ok(())
        })
        .context(squat.what)?;
    }
    Ok(())
}

#[test]
fn a_path_too_long_for_a_socket_is_reported_as_such() -> anyhow::Result<()> {
    story(|machine| {
        let long = format!("/run/{}.sock", "x".repeat(120));
        let told = run(&mut client(machine, USER, &["readers", "--endpoint", &format!("unix:{long}")]))?;
        is_refused(&told, "the path is longer than a socket's 107 bytes: start the broker with a shorter --socket");
        let daemon = run(&mut machine.command(USER, "cardbrokerd", &["--simulate", "1", "--socket", &long]))?;
        assert_eq!(daemon.code, Some(5), "{daemon:?}");
        assert!(daemon.err.contains("the path is too long for a socket: use a shorter one"), "{daemon:?}");
        Ok(())
    })
}

#[test]
fn a_lost_default_socket_is_not_opened_where_clients_do_not_trust_it() -> anyhow::Result<()> {
    story(|machine| {
        let broker = machine.broker(USER, OWN, &[])?;
        is_found(&readers(machine, USER)?);
        machine.folder(RUNTIME, USER, 0o777)?;
        fs::remove_file(machine.path(OWN))?;
        let problem = "new clients find no broker: cannot listen on /run/user/4001/cardbroker/cardbroker.sock: clients \
                       do not trust this path: other users can write to /run/user/4001 (its mode is 0777)";
        until(|| Ok(broker.log().contains(problem)), || broker.log())?;
        assert!(!machine.path(OWN).exists());
        machine.folder(RUNTIME, USER, 0o700)?;
        until(|| Ok(readers(machine, USER)?.code == Some(0)), || broker.log())?;
        assert_eq!(broker.log().matches("new clients find no broker").count(), 1, "{}", broker.log());
        Ok(())
    })
}

/// Waits for a condition; `state` is the message if it does not come.
fn until(condition: impl Fn() -> anyhow::Result<bool>, state: impl Fn() -> String) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONG;
    while !condition()? {
        ensure!(Instant::now() < deadline, "not within {LONG:?}: {}", state());
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
