//! The daemon under a service manager: inherited sockets, notifications, and the watchdog.

use std::{
    fs::{self, Permissions},
    io::Read,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        LONGEST,
        broker::{Broker, Setup, program},
        pcscd::Pcscd,
        run::{Run, cardbroker, run, wait},
    },
};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::{
    log::lines,
    world::{COUNT, INCREMENT, LONG, READER, answers, slow, tell, told, unit, wait_for},
};

const SIMULATED: &str = "readers/simulated-reader-00";

fn lists_readers(broker: &Broker) -> anyhow::Result<()> {
    let listed = broker.cardbroker(&["readers"])?;
    ensure!(listed.code == Some(0) && listed.out.contains("simulated-reader-00"), "{listed:?}\n{}", broker.log());
    Ok(())
}

/// Inode, mode and owner of the socket.
fn identity(broker: &Broker) -> anyhow::Result<(u64, u32, u32)> {
    let found = fs::symlink_metadata(broker.socket())?;
    Ok((found.ino(), found.mode(), found.uid()))
}

#[test]
fn an_inherited_socket_is_served_and_left_as_it_is() -> anyhow::Result<()> {
    let mut broker = Setup::simulated(1)?.inherit()?.start()?;
    fs::set_permissions(broker.socket(), Permissions::from_mode(0o640))?;
    let before = identity(&broker)?;
    lists_readers(&broker)?;
    assert!(broker.stop()?.success(), "{}", broker.log());
    assert_eq!(identity(&broker)?, before, "neither removed nor chmodded");
    // This client waits in the socket's backlog until the next start.
    let endpoint = broker.endpoint();
    let waiting =
        std::thread::spawn(move || run(&mut cardbroker(&endpoint, &["readers", "--connect-timeout", "20s"])?));
    broker.start_again()?;
    let waited = waiting.join().ok().context("it panicked")??;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert_eq!(identity(&broker)?, before);
    Ok(())
}

#[test]
fn an_inherited_tcp_socket_speaks_tls_and_asks_for_tokens() -> anyhow::Result<()> {
    tell(async {
        let rules = "rule = [{ name = 'tests', principals = ['token:tests'], allow = ['all'] }]";
        let broker = Setup::simulated(1)?.inherit_with_tcp(&["tests"])?.configuration(rules).start()?;
        let endpoint = broker.tcp_endpoint()?;
        assert!(endpoint.starts_with("https://127.0.0.1:"), "{endpoint}");
        let readers = broker.tcp_client("tests").await?.readers().await?;
        assert_eq!(readers.len(), 1, "{readers:?}");
        let bare = run(&mut cardbroker(&endpoint, &["readers"])?)?;
        assert_ne!(bare.code, Some(0), "{bare:?}");
        Ok(())
    })
}

/// A daemon that is started with this socket instead of one of its own, to its end.
fn activated(socket: impl Into<OwnedFd>, arguments: &[&str]) -> anyhow::Result<Run> {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(program("cardbrokerd")?).args(["--simulate", "1"]).args(arguments);
    let socket = Stdio::from(socket.into());
    let mut process = command.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let code = wait(&mut process, LONGEST)?.code();
    // A pipe holds all that it has written.
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout.take().context("no output")?.read_to_string(&mut out)?;
    process.stderr.take().context("no errors")?.read_to_string(&mut err)?;
    Ok(Run { code, out, err })
}

#[test]
fn addresses_beside_inherited_sockets_are_refused_with_the_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, socket) = (folder.path().join("c.toml"), folder.path().join("a.sock"));
    let file = config.to_str().context("no text")?;
    for (text, place, setting) in [
        ("[listen]\nsocket = \"/run/other.sock\"\n", "2:1: listen.socket", "ListenStream="),
        ("[listen]\n\nsocket_mode = \"0660\"\n", "3:1: listen.socket_mode", "SocketMode="),
        ("listen.tcp = \"127.0.0.1:0\"\n", "1:8: listen.tcp", "ListenStream="),
    ] {
        fs::write(&config, text)?;
        let refused = activated(UnixListener::bind(&socket)?, &["--config", file])?;
        fs::remove_file(&socket)?;
        assert_eq!((refused.code, refused.err.lines().count()), (Some(3), 1), "{refused:?}");
        assert!(refused.err.starts_with(&format!("cardbrokerd: {file}:{place}: not allowed with")), "{refused:?}");
        assert!(
            refused.err.contains(setting) && refused.err.contains("systemctl edit cardbrokerd.socket"),
            "{refused:?}"
        );
    }
    for flag in [["--socket", "/run/other.sock"], ["--tcp", "127.0.0.1:0"]] {
        let refused = activated(UnixListener::bind(&socket)?, &flag)?;
        fs::remove_file(&socket)?;
        assert!(refused.code == Some(3) && refused.err.contains("remove this flag"), "{refused:?}");
    }
    // The door for PC/SC programs is a socket of the service manager, too, or closed.
    fs::write(&config, format!("pcsclite.socket = \"{}\"\n", folder.path().join("door").display()))?;
    let refused = activated(UnixListener::bind(&socket)?, &["--config", file, "--check-config"])?;
    fs::remove_file(&socket)?;
    assert!(refused.code == Some(3) && refused.err.contains("add ListenStream="), "{refused:?}");
    // Where the settings of the port, its tokens and limits stay, the effective addresses are those of the sockets.
    fs::write(&config, "[listen]\ntokens = \"/t\"\ntcp_plain = true\nmax_connections = 9\n")?;
    let shown = activated(UnixListener::bind(&socket)?, &["--config", file, "--check-config"])?;
    assert!(shown.code == Some(0) && shown.out.contains(&format!("socket = \"{}\"", socket.display())), "{shown:?}");
    assert!(shown.out.contains("[pcsclite]\nsocket = \"off\""), "{shown:?}");
    Ok(())
}

#[test]
fn sockets_of_another_kind_are_refused_with_the_remedy() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.sock");
    let (near, _far) = UnixStream::pair()?;
    let lost = UnixListener::bind(folder.path().join("lost"))?;
    fs::remove_file(folder.path().join("lost"))?;
    let name = SocketAddr::from_abstract_name(format!("cardbroker-{}", std::process::id()))?;
    for (socket, told) in [
        (OwnedFd::from(UnixDatagram::bind(&path)?), "neither a Unix stream socket nor a TCP socket"),
        (near.into(), "use Accept=no"),
        (lost.into(), "was removed or replaced after the service manager had opened it"),
        (UnixListener::bind_addr(&name)?.into(), "has no path, so that every user could connect"),
        (std::net::TcpListener::bind("127.0.0.1:0")?.into(), "there is no Unix socket among them"),
    ] {
        let refused = activated(socket, &["--config", "/dev/null"])?;
        assert_eq!((refused.code, refused.err.lines().count()), (Some(5), 1), "{refused:?}");
        assert!(refused.err.contains(told), "{told}: {refused:?}");
    }
    Ok(())
}

#[test]
fn a_second_broker_at_an_inherited_socket_is_refused() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.inherit()?.start()?;
    lists_readers(&broker)?;
    let socket = broker.socket();
    let own = run(Command::new(program("cardbrokerd")?)
        .args(["--simulate", "1", "--config", "/dev/null", "--socket"])
        .arg(&socket))?;
    assert_eq!(
        (own.code, &*own.err),
        (Some(4), &*format!("cardbrokerd: a broker is already running on {}\n", socket.display()))
    );
    let inherited = broker.inherited_socket()?.context("it has none")?;
    let inherited = activated(inherited, &["--config", "/dev/null"])?;
    assert_eq!(inherited.code, Some(4), "{inherited:?}");
    lists_readers(&broker)
}

#[test]
fn a_daemon_ends_when_its_inherited_socket_is_lost_and_says_what_to_restart() -> anyhow::Result<()> {
    for replace in [false, true] {
        let mut broker = Setup::simulated(1)?.inherit()?.start()?;
        lists_readers(&broker)?;
        let socket = broker.socket();
        let _other = if replace {
            let other = socket.with_extension("other");
            let listener = UnixListener::bind(&other)?;
            fs::rename(other, &socket)?;
            Some(listener)
        } else {
            fs::remove_file(&socket)?;
            None
        };
        assert_eq!(broker.wait()?.code(), Some(5), "{}", broker.log());
        let told = "restart both (systemctl restart cardbrokerd.socket cardbrokerd.service";
        assert!(broker.log().contains(told), "{}", broker.log());
        assert_eq!(socket.exists(), replace, "it makes no socket of its own");
    }
    Ok(())
}

/// How a stop asks the service manager for time.
const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=15000000\n";

/// A service manager's end of the notifications.
struct Notified(UnixDatagram);

impl Notified {
    fn at(address: &SocketAddr) -> anyhow::Result<Self> {
        let socket = UnixDatagram::bind_addr(address)?;
        socket.set_read_timeout(Some(LONGEST))?;
        Ok(Self(socket))
    }

    fn next(&self) -> anyhow::Result<String> {
        let mut bytes = [0; 4_096];
        let length = self.0.recv(&mut bytes).context("no message for the service manager")?;
        Ok(String::from_utf8(bytes[..length].to_vec())?)
    }

    /// The next message that holds `text`.
    fn about(&self, text: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let message = self.next()?;
            if message.contains(text) {
                return Ok(message);
            }
            ensure!(Instant::now() < deadline, "no message about {text}: {message}");
        }
    }
}

#[test]
fn the_service_manager_learns_of_start_reload_and_stop() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let name = format!("cardbroker-notify-{}", std::process::id());
    for (variable, address) in [
        (path.display().to_string(), SocketAddr::from_pathname(&path)?),
        (format!("@{name}"), SocketAddr::from_abstract_name(&name)?),
    ] {
        let notified = Notified::at(&address)?;
        let mut broker = Setup::simulated(2)?.environment("NOTIFY_SOCKET", &variable).start()?;
        let ready = notified.next()?;
        assert!(ready.starts_with("READY=1\nSTATUS=serving 2 readers, "), "{ready}");
        assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
        broker.signal(Signal::HUP)?;
        let reloading = notified.about("RELOADING=1")?;
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).context("no time")?;
        assert!(time.parse::<u64>()? > 0, "{reloading}");
        assert!(notified.about("READY=1")?.contains("STATUS=serving 2 readers, "));
        fs::write(broker.folder().join("cardbrokerd.toml"), "[nonsense]")?;
        broker.signal(Signal::HUP)?;
        notified.about("RELOADING=1")?;
        let refused = notified.about("READY=1")?;
        assert!(refused.contains("the last reload was refused: ") && refused.lines().count() == 2, "{refused}");
        assert!(broker.stop()?.success());
        assert_eq!(notified.about("STOPPING=1")?, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
    }
    Ok(())
}

#[test]
fn a_long_stop_asks_for_time_until_it_ends() -> anyhow::Result<()> {
    tell(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let notified = Notified::at(&SocketAddr::from_pathname(&path)?)?;
        let setup = Setup::simulated(1)?.environment("NOTIFY_SOCKET", path.to_str().context("no text")?);
        let mut broker = setup.flag("--grace=5m").start()?;
        wait_for(&broker, SIMULATED, ReaderState::Ready).await?;
        let client = broker.client().await?;
        let endless = tokio::spawn(unit(&client, SIMULATED, &[&slow(30_000)]).send());
        let busy =
            async { while unit(&client, SIMULATED, &[COUNT]).wait_timeout(Duration::ZERO).send().await.is_ok() {} };
        timeout(LONG, busy).await?;
        broker.signal(Signal::TERM)?;
        assert_eq!(notified.about("STOPPING=1")?, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(notified.next()?, MORE_TIME);
            assert!(asked.elapsed() < Duration::from_secs(12), "systemd would have lost its patience");
        }
        broker.signal(Signal::TERM)?;
        assert_eq!(broker.wait()?.code(), Some(6));
        assert!(endless.await?.is_err());
        Ok(())
    })
}

#[test]
fn a_driver_that_hangs_delays_no_ping_of_the_watchdog() -> anyhow::Result<()> {
    tell(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let notified = Notified::at(&SocketAddr::from_pathname(&path)?)?;
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let setup = Setup::on(&pcscd)?.environment("NOTIFY_SOCKET", path.to_str().context("no text")?);
        let setup = setup.configuration("[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n");
        let broker = setup.environment("WATCHDOG_USEC", "2000000").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        card.hang_next(LONG);
        let client = broker.client().await?;
        let hanging = tokio::spawn(unit(&client, READER, &[INCREMENT]).send());
        assert!(card.wait_until(LONG, |seen| seen.hanging));
        // Those before the hang are read first.
        notified.0.set_nonblocking(true)?;
        while notified.next().is_ok() {}
        notified.0.set_nonblocking(false)?;
        let (begin, mut longest) = (Instant::now(), Duration::ZERO);
        while begin.elapsed() < Duration::from_secs(4) {
            let asked = Instant::now();
            notified.about("WATCHDOG=1")?;
            longest = longest.max(asked.elapsed());
        }
        assert!(longest < Duration::from_millis(1_900), "a ping came after {longest:?}");
        assert_eq!(told(&hanging.await?.unwrap_err()), "READER_UNRESPONSIVE unknown");
        card.resume();
        Ok(())
    })
}

#[test]
fn a_service_manager_that_reads_nothing_blocks_nobody() -> anyhow::Result<()> {
    tell(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path)?;
        let setup = Setup::simulated(1)?.environment("NOTIFY_SOCKET", path.to_str().context("no text")?);
        let mut broker = setup.environment("WATCHDOG_USEC", "2000").start()?;
        lines(&broker, "the service manager cannot be notified", 1).await?;
        wait_for(&broker, SIMULATED, ReaderState::Ready).await?;
        let client = broker.client().await?;
        assert_eq!(answers(&unit(&client, SIMULATED, &[COUNT]).send().await?).len(), 1);
        assert!(broker.stop()?.success());
        Ok(())
    })
}
