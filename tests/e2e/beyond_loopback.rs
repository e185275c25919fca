//! TCP beyond loopback: a broker on one machine and clients on another, each a network namespace of its own.

use std::{
    fs::{self, File},
    io::{self, Write},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_tests::harness::{
    LONGEST,
    broker::program,
    network::{Network, SERVER},
    run::{Run, run},
};
use tempfile::TempDir;

use crate::world::INCREMENT;

const READER: &str = "simulated-reader-00";
const RULES: &str = "rule = [{ name = 'tests', principals = ['anyone'], allow = ['all'] }]";

fn story(tell: impl FnOnce(&Network) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match Network::new()? {
        Some(network) => tell(&network),
        None => Ok(writeln!(io::stderr(), "skipped: only root can have network namespaces")?),
    }
}

/// A broker at the server's machine. Dropping kills it.
struct Broker {
    process: Child,
    folder: TempDir,
}

impl Broker {
    /// Makes a token, and starts a broker at that port.
    fn start(network: &Network, port: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("c.toml"), format!("listen.tcp = '{SERVER}:{port}'\n{RULES}"))?;
        let mut token = std::process::Command::new(program("cardbrokerd")?);
        token.args(["--config", &path("c.toml"), "token", "new", "tests"]);
        let made = run(token.args(["--tokens", &path("tokens"), "--out", &path("token")]))?;
        ensure!(made.code == Some(0), "{made:?}");
        let mut daemon = network.at_server(program("cardbrokerd")?);
        daemon.args(["--simulate", "1", "--log", "debug", "--config", &path("c.toml"), "--tokens", &path("tokens")]);
        daemon.args(["--socket", &path("s")]);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path("log"))?);
        let mut broker = Self { process: daemon.spawn()?, folder };
        let deadline = Instant::now() + LONGEST;
        while !broker.log().contains("serving ") {
            let ended = broker.process.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", broker.log());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(broker)
    }

    fn token_file(&self) -> String {
        self.folder.path().join("token").display().to_string()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the command line at the clients' machine.
fn ask(network: &Network, endpoint: &str, token_file: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    let mut command = network.at_client(program("cardbroker")?);
    command.args(["--endpoint", endpoint, "--token-file", token_file]);
    run(command.args(arguments))
}

#[test]
fn a_client_on_another_machine_is_served_by_its_token_file() -> anyhow::Result<()> {
    story(|network| {
        let broker = Broker::start(network, 7777)?;
        // The broker warns of a certificate without the address: "token new" has read it in the configuration.
        let endpoint = format!("https://{SERVER}:7777");
        let sent =
            ask(network, &endpoint, &broker.token_file(), &["transmit", READER, INCREMENT, "--wait-timeout", "20s"])?;
        assert_eq!((sent.code, &*sent.out), (Some(0), "00000001 9000\n"), "{sent:?}");
        assert!(!broker.log().contains("WARN"), "{}", broker.log());

        let plain = ask(network, &endpoint.replace("https", "http"), &broker.token_file(), &["readers"])?;
        assert!(plain.code == Some(2) && plain.err.contains("is not an endpoint"), "{plain:?}");
        Ok(())
    })
}

#[test]
fn another_broker_at_that_address_gets_nothing() -> anyhow::Result<()> {
    story(|network| {
        let old = Broker::start(network, 7777)?;
        let (token, folder) = (fs::read(old.token_file())?, tempfile::tempdir()?);
        let kept = folder.path().join("token");
        fs::copy(old.token_file(), &kept)?;
        drop(old);
        let new = Broker::start(network, 7777)?;
        assert_ne!(fs::read(new.token_file())?, token);
        let endpoint = format!("https://{SERVER}:7777");
        let transmit = ["transmit", READER, INCREMENT, "--connect-timeout", "0s"];
        let refused = ask(network, &endpoint, &kept.display().to_string(), &transmit)?;
        assert_eq!((refused.code, &*refused.out), (Some(3), ""), "{refused:?}");
        let told = format!("{endpoint} is not the broker of the token file: it has another certificate or no TLS");
        assert!(refused.err.contains(&told), "{refused:?}");
        assert!(!new.log().contains("unauthenticated"), "{}", new.log());
        Ok(())
    })
}

#[test]
fn without_tls_or_on_all_addresses_the_start_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("c.toml"), "listen.tcp_plain = true")?;
    fs::write(path("none.toml"), "")?;
    for (config, address, code, expected) in [
        ("c.toml", "10.77.0.1:7777", 3, "listen.tcp_plain: only allowed on loopback: on the way to 10.77.0.1 others"),
        ("c.toml", "auto", 3, "listen.tcp_plain: not allowed with listen.tcp = \"auto\""),
        ("none.toml", "0.0.0.0:7777", 2, "0.0.0.0 means every address of the machine: name one of them"),
        ("none.toml", "[::]:7777", 2, ":: means every address of the machine: name one of them"),
    ] {
        let mut daemon = std::process::Command::new(program("cardbrokerd")?);
        daemon.args([
            "--simulate",
            "1",
            "--socket",
            &path("s"),
            "--config",
            &path(config),
            "--tokens",
            &path("tokens"),
        ]);
        let refused = run(daemon.args(["--tcp", address]))?;
        assert!(refused.code == Some(code) && refused.err.contains(expected), "{address}: {refused:?}");
        assert!(!folder.path().join("s").exists() && !folder.path().join("tls.pem").exists());
    }
    Ok(())
}
