//! The daemon behind systemd's own opener of sockets, with the sockets and command lines of the shipped units.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    LONGEST,
    broker::program,
    machine::Machine,
    run::{Run, cardbroker, run},
};

const RULES: &str = "
[listen]
tokens = 'TOKENS'
[[rule]]
name = 'tests'
principals = ['token:tests', 'user:root', 'self']
allow = ['see', 'transmit']
";
const USER: u32 = 4_001;

/// A process that is killed at the end.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The value of a setting in a shipped unit.
fn setting(unit: &str, key: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(unit);
    let text = fs::read_to_string(path)?;
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Ok(found.with_context(|| format!("no {key}= in {unit}"))?.to_owned())
}

#[test]
fn a_drop_in_of_the_socket_opens_a_port_with_tls_and_tokens() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cardbrokerd.toml"), RULES.replace("TOKENS", &path("tokens")))?;
    let config = ["--config", &path("cardbrokerd.toml")];
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let made = run(&mut cardbroker(
        "",
        &[&["token", "new", "tests", "--out", &path("token"), "--address", &port.to_string()], &config[..]].concat(),
    )?)?;
    ensure!(made.code == Some(0), "{made:?}");

    // The unit's command line, with the program and the configuration of this story.
    let line = setting("cardbrokerd.service", "ExecStart")?;
    assert_eq!(line, "/usr/bin/cardbrokerd --config /etc/cardbroker/cardbrokerd.toml");
    let mut opener = Command::new("systemd-socket-activate");
    opener.args(["--listen", &path("cardbroker.sock"), "--listen", &port.to_string()]);
    opener.arg(program("cardbrokerd")?).args(config).args(["--simulate", "1"]);
    let _opener = Started(opener.stdin(Stdio::null()).stderr(fs::File::create(path("log"))?).spawn()?);

    let ask = |endpoint: &str, arguments: &[&str]| -> anyhow::Result<Run> {
        run(&mut cardbroker(endpoint, &[&["readers", "--connect-timeout", "20s"], arguments].concat())?)
    };
    let (secure, plain) = (format!("https://{port}"), format!("http://{port}"));
    // The first client starts the daemon, and waits in the port's backlog.
    let served = ask(&secure, &["--token-file", &path("token")])?;
    let log = || fs::read_to_string(path("log"));
    assert!(served.code == Some(0) && served.out.contains("simulated-reader-00"), "{served:?}\n{}", log()?);
    let bare = ask(&secure, &[])?;
    assert!(bare.code == Some(2) && bare.err.contains("needs a token file"), "{bare:?}");
    let unencrypted = ask(&plain, &["--token-file", &path("token"), "--connect-timeout", "0s"])?;
    assert!(unencrypted.code != Some(0) && !unencrypted.out.contains("simulated"), "{unencrypted:?}");
    let local = ask(&format!("unix:{}", path("cardbroker.sock")), &[])?;
    assert!(local.code == Some(0) && local.out.contains("simulated-reader-00"), "{local:?}\n{}", log()?);
    Ok(())
}

#[test]
fn the_units_of_users_serve_the_place_where_their_programs_look() -> anyhow::Result<()> {
    let Some(machine) = Machine::new()? else { return Ok(()) };
    machine.install_configuration()?;
    let runtime = format!("/run/user/{USER}");
    for folder in ["/run/own", &runtime, &format!("{runtime}/cardbroker")] {
        machine.folder(folder, USER, 0o700)?;
    }
    let socket = setting("user/cardbrokerd.socket", "ListenStream")?.replace("%t", &runtime);
    assert_eq!(setting("user/cardbrokerd.service", "ExecStart")?, "/usr/bin/cardbrokerd");
    assert_eq!(setting("user/cardbrokerd.socket", "SocketMode")?, "0600");
    let opener = ["systemd-socket-activate", "--listen", &socket];
    let mut daemon = machine.command_by(&[], USER, &opener, "cardbrokerd", &["--simulate", "1"]);
    let _opener = Started(daemon.env("HOME", "/run/own").stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let deadline = std::time::Instant::now() + LONGEST;
    while !machine.path(&socket).exists() {
        ensure!(std::time::Instant::now() < deadline, "no socket");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    fs::set_permissions(machine.path(&socket), Permissions::from_mode(0o600))?;
    let own =
        run(machine.command(USER, "cardbroker", &["readers", "--connect-timeout", "20s"]).env("HOME", "/run/own"))?;
    assert!(own.code == Some(0) && own.out.contains("simulated-reader-00"), "{own:?}");
    let other = run(&mut machine.command(USER + 1, "cardbroker", &["readers", "--connect-timeout", "0s"]))?;
    assert!(other.code == Some(3) && other.out.is_empty(), "{other:?}");
    Ok(())
}
