//! A port of the broker's own choice (`--tcp auto`): clients find it by the endpoint file, and only by their own.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    LONGEST,
    machine::{Machine, MachineBroker},
    relay::{Relay, Role},
    run::{Run, run},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{tls::impostor, world::INCREMENT};

const READER: &str = "simulated-reader-00";
const USER: u32 = 4001;
const OTHER: u32 = 4002;
const RUNTIME: &str = "/run/user/4001";
const SOCKET: &str = "/run/user/4001/cardbroker/cardbroker.sock";
const FILE: &str = "/run/user/4001/cardbroker/endpoint.json";
const TOKENS: &str = "/run/user/4001/tokens";

fn story(tell: impl FnOnce(&Machine) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match Machine::new()? {
        Some(machine) => {
            machine.folder(RUNTIME, USER, 0o700)?;
            tell(&machine)
        }
        None => Ok(writeln!(io::stderr(), "skipped: only root can be several users, in a mount namespace")?),
    }
}

fn broker(machine: &Machine) -> anyhow::Result<MachineBroker> {
    machine.broker(USER, SOCKET, &["--tcp", "auto", "--tokens", TOKENS])
}

/// The values in the endpoint file.
fn file(machine: &Machine) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(machine.path(FILE))?)?)
}

fn text<'a>(file: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    file[key].as_str().with_context(|| format!("no {key}"))
}

/// `cardbroker` of the user by the endpoint file, without a wait for a broker.
fn client(machine: &Machine, arguments: &[&str]) -> Command {
    let auto = ["--endpoint", "tcp:auto", "--connect-timeout", "0s"];
    machine.command(USER, "cardbroker", &[&auto, arguments].concat())
}

fn increment(machine: &Machine) -> anyhow::Result<Run> {
    run(&mut client(machine, &["transmit", READER, INCREMENT, "--wait-timeout", "20s"]))
}

/// The client found no broker; its message is one line with this text.
fn is_refused(run: &Run, text: &str) {
    assert!(run.err.contains(text) && run.err.lines().count() == 1, "{text}: {run:?}");
    assert_eq!((run.code, &*run.out), (Some(3), ""), "{run:?}");
}

#[test]
fn a_client_finds_port_and_token_by_the_endpoint_file() -> anyhow::Result<()> {
    story(|machine| {
        let broker = broker(machine)?;
        let sent = increment(machine)?;
        assert_eq!((sent.code, &*sent.out, &*sent.err), (Some(0), "00000001 9000\n", ""));

        let found = fs::symlink_metadata(machine.path(FILE))?;
        assert!(found.is_file() && (found.mode() & 0o7777, found.uid()) == (0o600, USER), "{found:?}");
        let names = fs::read_dir(machine.path("/run/user/4001/cardbroker"))?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        let guarded = ["cardbroker.sock", "endpoint.json", "pcscd.comm"];
        let expected = guarded.map(|name| [OsString::from(name), format!("{name}.lock").into()]).concat();
        assert_eq!(names, expected, "each with its lock");
        let file = file(machine)?;
        assert_eq!(file["pid"].as_u64(), Some(broker.id().into()));
        let stat = fs::read_to_string(format!("/proc/{}/stat", broker.id()))?;
        assert_eq!(file["start_time"].as_u64(), stat.split(' ').nth(21).and_then(|time| time.parse().ok()));
        let endpoint = text(&file, "endpoint")?;
        let address = endpoint.strip_prefix("https://").context("no TLS")?;
        assert!(broker.log().contains(&format!("tcp={address}")), "{}", broker.log());
        assert!(!broker.log().contains(&text(&file, "token")?[..8]), "the token is in the log");
        let identity = fs::read_to_string(machine.path("/run/user/4001/tls.pem"))?;
        assert!(identity.starts_with(text(&file, "certificate")?), "the usual certificate");

        let about = run(&mut client(machine, &["broker"]))?.out;
        assert!(about.contains(&format!(" at tcp:auto ({endpoint})\n")), "{about}");
        let caller = about.lines().find(|line| line.starts_with("You are")).context("no caller")?;
        assert!(caller.contains(&format!("user {USER}, connection ")), "{caller}");
        assert!(caller.ends_with("with turns and a group of its own"), "{caller}");
        let mut by_variable = machine.command(USER, "cardbroker", &["readers", "--connect-timeout", "0s"]);
        assert_eq!(run(by_variable.env("CARDBROKER_ENDPOINT", "tcp:auto"))?.code, Some(0));

        broker.stop()?;
        assert!(!machine.path(FILE).exists());
        let gone = format!("no broker at tcp:auto (no such file: {FILE}): start it with \"cardbrokerd --tcp auto\"");
        is_refused(&run(&mut client(machine, &["readers"]))?, &gone);
        Ok(())
    })
}

#[test]
fn the_file_of_roots_broker_is_beside_the_systems_socket() -> anyhow::Result<()> {
    story(|machine| {
        machine.folder("/run/roots", 0, 0o700)?;
        let arguments = ["--tcp", "auto", "--tokens", "/run/roots/tokens", "--socket", "/run/roots/socket"];
        let broker = machine.broker(0, "/run/roots/socket", &arguments)?;
        let mode = |path| anyhow::Ok(fs::metadata(machine.path(path))?.mode() & 0o7777);
        assert_eq!((mode("/run/cardbroker")?, mode("/run/cardbroker/endpoint.json")?), (0o700, 0o600));
        let mut auto = machine.command(0, "cardbroker", &["readers", "--endpoint", "tcp:auto"]);
        assert_eq!(run(&mut auto)?.code, Some(0));
        // It is root's alone.
        is_refused(&run(&mut client(machine, &["readers"]))?, &format!("no such file: {FILE}"));
        broker.stop()?;
        assert!(!machine.path("/run/cardbroker/endpoint.json").exists());
        Ok(())
    })
}

#[test]
fn a_client_waits_for_a_broker_that_starts() -> anyhow::Result<()> {
    story(|machine| {
        let waiting = ["readers", "--endpoint", "tcp:auto", "--connect-timeout", "20s"];
        let mut early = machine.command(USER, "cardbroker", &waiting);
        let early = early.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let _broker = broker(machine)?;
        let told = early.wait_with_output()?;
        assert!(told.status.success(), "{told:?}");
        Ok(())
    })
}

#[test]
fn a_connected_client_follows_to_the_next_broker() -> anyhow::Result<()> {
    story(|machine| {
        let first = broker(machine)?;
        let mut watch = client(machine, &["watch", "--json"]).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(watch.stdout.take().context("no output")?);
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let event = |kind: &str| -> anyhow::Result<()> {
            loop {
                let line: Value = serde_json::from_str(&lines.recv_timeout(LONGEST).context("no such event")?)?;
                if line["event"] == kind {
                    return Ok(());
                }
            }
        };
        event("updated")?;
        let (old, pid) = (file(machine)?, first.id());
        drop(first);
        event("disconnected")?;
        let ended = format!("no broker at tcp:auto (its broker, process {pid}, has ended; see {FILE}): start it");
        is_refused(&run(&mut client(machine, &["readers"]))?, &ended);
        let _second = broker(machine)?;
        event("connected")?;
        let new = file(machine)?;
        assert_ne!((&old["token"], &old["endpoint"]), (&new["token"], &new["endpoint"]));
        assert_eq!(old["certificate"], new["certificate"]);
        assert_eq!(increment(machine)?.code, Some(0));
        watch.kill()?;
        watch.wait()?;
        Ok(())
    })
}

/// Asks who the holder of the token of `file` is, at the port of that file or another one.
fn by_token_file(machine: &Machine, file: &Value, endpoint: &str) -> anyhow::Result<Run> {
    let path = machine.path("/run/user/4001/token");
    fs::write(&path, format!("{}\n{}", text(file, "token")?, text(file, "certificate")?))?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    chown(&path, Some(USER), Some(USER))?;
    let arguments = ["broker", "--endpoint", endpoint, "--token-file", "/run/user/4001/token"];
    run(&mut machine.command(USER, "cardbroker", &arguments))
}

#[test]
fn the_token_is_that_of_one_run_and_no_reload_changes_it() -> anyhow::Result<()> {
    story(|machine| {
        let first = broker(machine)?;
        let old = file(machine)?;
        let endpoint = text(&old, "endpoint")?;
        let user = format!("You are           user {USER}, ");
        assert!(by_token_file(machine, &old, endpoint)?.out.contains(&user));

        // A tokens file that comes later is read at a reload, and its tokens are valid beside that of the file.
        let made = ["token", "new", "listed", "--tokens", TOKENS, "--out", "/run/user/4001/listed"];
        assert_eq!(run(&mut machine.command(USER, "cardbrokerd", &made))?.code, Some(0));
        let listed = ["broker", "--endpoint", endpoint, "--token-file", "/run/user/4001/listed"];
        let mut listed = machine.command(USER, "cardbroker", &listed);
        assert_eq!(run(&mut listed)?.code, Some(1));
        first.signal(Signal::HUP)?;
        let deadline = Instant::now() + LONGEST;
        while !run(&mut listed)?.out.contains("token listed") {
            ensure!(Instant::now() < deadline, "{}", first.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(by_token_file(machine, &old, endpoint)?.out.contains(&user));
        assert_eq!(increment(machine)?.code, Some(0));
        // Without that file again only its tokens are gone.
        fs::remove_file(machine.path(TOKENS))?;
        first.signal(Signal::HUP)?;
        while run(&mut listed)?.code != Some(1) {
            ensure!(Instant::now() < deadline, "{}", first.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(increment(machine)?.code, Some(0));

        first.stop()?;
        let _second = broker(machine)?;
        let new = file(machine)?;
        let endpoint = text(&new, "endpoint")?;
        let refused = by_token_file(machine, &old, endpoint)?;
        assert!(refused.code == Some(1) && refused.err.contains("the token is not valid here"), "{refused:?}");
        assert!(by_token_file(machine, &new, endpoint)?.out.contains(&user));
        Ok(())
    })
}

/// A reason not to trust an endpoint file, and the client's words for it.
type Change = (&'static str, fn(&Machine) -> anyhow::Result<()>);

const CHANGES: [Change; 7] = [
    ("/run/user/4001/cardbroker/endpoint.json is a symbolic link", |machine| {
        fs::rename(machine.path(FILE), machine.path("/run/user/4001/moved"))?;
        machine.link(FILE, "/run/user/4001/moved")
    }),
    ("endpoint.json belongs to uid 4002, not to this user", |machine| {
        fs::set_permissions(machine.path(FILE), Permissions::from_mode(0o644))?;
        Ok(chown(machine.path(FILE), Some(OTHER), None)?)
    }),
    ("endpoint.json is open to other users (its mode is 0644)", |machine| mode(machine, FILE, 0o644)),
    ("endpoint.json is open to other users (its mode is 0620)", |machine| mode(machine, FILE, 0o620)),
    ("other users can write to /run/user/4001/cardbroker (its mode is 0777)", |machine| {
        mode(machine, "/run/user/4001/cardbroker", 0o777)
    }),
    ("the runtime folder /run/user/4001 belongs to uid 4002, not to this user", |machine| {
        machine.folder(RUNTIME, OTHER, 0o755)
    }),
    ("endpoint.json is not a regular file", |machine| {
        fs::remove_file(machine.path(FILE))?;
        machine.folder(FILE, USER, 0o700)
    }),
];

fn mode(machine: &Machine, path: &str, mode: u32) -> anyhow::Result<()> {
    Ok(fs::set_permissions(machine.path(path), Permissions::from_mode(mode))?)
}

/// Names another port in the endpoint file.
fn forge(machine: &Machine, port: u16) -> anyhow::Result<()> {
    let mut forged = file(machine)?;
    forged["endpoint"] = format!("https://127.0.0.1:{port}").into();
    Ok(fs::write(machine.path(FILE), forged.to_string())?)
}

#[test]
fn an_untrusted_endpoint_file_is_not_used() -> anyhow::Result<()> {
    for (told, change) in CHANGES {
        story(|machine| {
            let broker = broker(machine)?;
            // Else it would write the file again.
            broker.signal(Signal::STOP)?;
            let relay = Relay::start("127.0.0.1:0", Role::Serve(impostor()?))?;
            forge(machine, relay.address().port())?;
            change(machine)?;
            // There is no wait either.
            let waiting = ["transmit", READER, INCREMENT, "--endpoint", "tcp:auto", "--connect-timeout", "10m"];
            let refused = run(&mut machine.command(USER, "cardbroker", &waiting))?;
            is_refused(
                &refused,
                &format!("tcp:auto is not trusted: {}", if told.starts_with('e') { "/run" } else { told }),
            );
            assert!(refused.err.contains(told), "{refused:?}");
            assert_eq!(relay.connections(), 0);
            Ok(())
        })
        .context(told)?;
    }
    Ok(())
}

#[test]
fn another_program_at_the_port_learns_no_token() -> anyhow::Result<()> {
    story(|machine| {
        let broker = broker(machine)?;
        let relay = Relay::start("127.0.0.1:0", Role::Serve(impostor()?))?;
        let original = file(machine)?;
        forge(machine, relay.address().port())?;
        let refused = "the port of tcp:auto is not that of the broker of the endpoint file: it has another certificate";
        is_refused(&increment(machine)?, refused);
        assert_eq!((relay.connections(), relay.received()), (1, Vec::new()), "no byte after the handshake");

        // The port of a broker that was killed, taken by another program.
        fs::write(machine.path(FILE), original.to_string())?;
        let pid = broker.id();
        drop(broker);
        let address = text(&original, "endpoint")?.replace("https://", "");
        let relay = Relay::start(&address, Role::Serve(impostor()?))?;
        is_refused(&increment(machine)?, &format!("its broker, process {pid}, has ended"));
        assert_eq!(relay.connections(), 0);
        Ok(())
    })
}

#[test]
fn a_malformed_endpoint_file_is_named_at_once() -> anyhow::Result<()> {
    story(|machine| {
        let _broker = broker(machine)?;
        let whole = fs::read_to_string(machine.path(FILE))?;
        for (text, problem) in [
            ("{", "is not one JSON object"),
            (&*whole.replace("https://127.0.0.1", "https://192.168.0.1"), "has no valid \"endpoint\""),
            (&*whole.replace("token", "taken"), "has no valid \"token\""),
        ] {
            fs::write(machine.path(FILE), text)?;
            let waiting = ["readers", "--endpoint", "tcp:auto", "--connect-timeout", "10m"];
            let refused = run(&mut machine.command(USER, "cardbroker", &waiting))?;
            is_refused(&refused, &format!("tcp:auto: {FILE} {problem}: remove the file and start the broker again"));
        }
        Ok(())
    })
}

#[test]
fn a_second_broker_of_a_user_leaves_the_file_alone() -> anyhow::Result<()> {
    story(|machine| {
        let first = broker(machine)?;
        let before = fs::read(machine.path(FILE))?;
        let elsewhere = "/run/user/4001/other.sock";
        let start = |socket: &str| {
            let arguments = ["--simulate", "1", "--tcp", "auto", "--tokens", TOKENS, "--socket", socket];
            run(&mut machine.command(USER, "cardbrokerd", &arguments))
        };
        let second = start(elsewhere)?;
        let told =
            format!("another broker of this user already has a port by --tcp auto (process {}, {FILE})", first.id());
        assert!(second.code == Some(4) && second.err.contains(&told), "{second:?}");
        assert!(!machine.path(elsewhere).exists());
        let second = start(SOCKET)?;
        assert!(second.code == Some(4) && second.err.contains(&told), "{second:?}");
        assert_eq!(fs::read(machine.path(FILE))?, before);

        // A damaged file changes nothing, and a file that is lost with its folder comes back.
        fs::write(machine.path(FILE), "damaged")?;
        let second = start(elsewhere)?;
        let told = format!("another broker of this user already has a port by --tcp auto ({FILE})");
        assert!(second.code == Some(4) && second.err.contains(&told), "{second:?}");
        // Moved first: a removal entry by entry could meet what the broker already makes anew.
        let away = machine.path("/run/user/4001/away");
        fs::rename(machine.path("/run/user/4001/cardbroker"), &away)?;
        fs::remove_dir_all(away)?;
        let deadline = Instant::now() + LONGEST;
        while increment(machine)?.code != Some(0) {
            ensure!(Instant::now() < deadline, "{}", first.log());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read(machine.path(FILE))?, before);

        // After a kill its file is no obstacle, and neither is what else may be there.
        drop(first);
        let arguments = ["--tcp", "auto", "--tokens", TOKENS, "--socket", elsewhere];
        let third = machine.broker(USER, elsewhere, &arguments)?;
        assert_eq!(increment(machine)?.code, Some(0));
        third.stop()?;
        fs::write(machine.path("/run/user/4001/target"), "target")?;
        machine.link(FILE, "/run/user/4001/target")?;
        let _fourth = broker(machine)?;
        assert_eq!(increment(machine)?.code, Some(0));
        assert_eq!(fs::read_to_string(machine.path("/run/user/4001/target"))?, "target", "a link is not followed");
        Ok(())
    })
}

#[test]
fn the_daemon_refuses_without_a_place_for_the_file() -> anyhow::Result<()> {
    story(|machine| {
        machine.folder("/run/other", OTHER, 0o700)?;
        let arguments = ["--simulate", "1", "--tcp", "auto", "--socket", "/run/other/s", "--tokens", "/run/other/t"];
        let start = |runtime: Option<&str>| {
            let mut daemon = machine.command(OTHER, "cardbrokerd", &arguments);
            run(daemon.envs(runtime.map(|folder| ("XDG_RUNTIME_DIR", folder))))
        };
        let none = start(None)?;
        assert!(none.code == Some(5) && none.err.contains("no place for the endpoint file of --tcp auto"), "{none:?}");
        assert!(none.err.contains("set XDG_RUNTIME_DIR to a folder of your own, or choose a port"), "{none:?}");
        machine.folder("/run/shared", 0, 0o777)?;
        let shared = start(Some("/run/shared"))?;
        assert!(shared.code == Some(5) && shared.err.contains("clients do not trust this path: "), "{shared:?}");
        assert!(!machine.path("/run/other/s").exists());

        let plain = machine.path("/run/other/c.toml");
        fs::write(&plain, "listen.tcp = 'auto'\nlisten.tcp_plain = true")?;
        let check = |text: &str| {
            fs::write(&plain, text)?;
            run(&mut machine.command(OTHER, "cardbrokerd", &["--check-config", "--config", "/run/other/c.toml"]))
        };
        let refused = check("[listen]\ntcp = 'auto'\ntcp_plain = true")?;
        let told = "/run/other/c.toml:3:1: listen.tcp_plain: not allowed with listen.tcp = \"auto\"";
        assert!(refused.code == Some(3) && refused.err.contains(told), "{refused:?}");
        let shown = check("[listen]\ntcp = 'auto'")?;
        assert!(shown.code == Some(0) && shown.out.contains("tcp = \"auto\""), "{shown:?}");
        Ok(())
    })
}
