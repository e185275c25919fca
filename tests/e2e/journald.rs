//! The log in journald: records with priority and fields. Journald is a socket of the test's own, in a
//! machine with a `/run` of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixDatagram, UnixStream},
        },
    },
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    LONGEST,
    machine::Machine,
    run::{Run, run, wait},
};
use rustix::{
    fs::fstat,
    process::{Pid, Signal, kill_process},
};

const SOCKET: &str = "/run/cardbroker/cardbroker.sock";
const STRANGER: u32 = 4666;
const OPEN: &str = r#"
listen.socket_mode = "0666"
rule = [{ name = "see", principals = ["anyone"], allow = ["see"] }]
"#;

type Record = BTreeMap<String, String>;

/// A machine whose journald is this test.
struct Scene {
    machine: Machine,
    journald: UnixDatagram,
}

impl Scene {
    fn new() -> anyhow::Result<Option<Self>> {
        let Some(machine) = Machine::new()? else {
            writeln!(io::stderr(), "skipped: only root has a mount namespace")?;
            return Ok(None);
        };
        machine.folder("/run/systemd/journal", 0, 0o755)?;
        let socket = machine.path("/run/systemd/journal/socket");
        let journald = UnixDatagram::bind(&socket)?;
        fs::set_permissions(socket, Permissions::from_mode(0o666))?;
        journald.set_read_timeout(Some(LONGEST))?;
        fs::write(machine.path("/run/open.toml"), OPEN)?;
        Ok(Some(Self { machine, journald }))
    }

    /// Starts the daemon with this standard error, which `named` names as journald's stream.
    fn daemon(&self, stream: OwnedFd, named: Option<&str>, arguments: &[&str]) -> anyhow::Result<Child> {
        let found = fstat(&stream)?;
        let named = named.map_or_else(|| format!("{}:{}", found.st_dev, found.st_ino), str::to_owned);
        let all = ["--simulate", "1", "--config", "/run/open.toml", "--socket", SOCKET];
        let mut command = self.machine.command(0, "cardbrokerd", &[&all, arguments].concat());
        command.env("JOURNAL_STREAM", named).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stream);
        Ok(command.spawn()?)
    }

    fn cardbroker(&self, user: u32, arguments: &[&str]) -> anyhow::Result<Run> {
        run(&mut self.machine.command(user, "cardbroker", arguments))
    }

    fn record(&self) -> anyhow::Result<Record> {
        let mut bytes = vec![0; 64 << 10];
        let length = self.journald.recv(&mut bytes).context("no record")?;
        decode(&bytes[..length])
    }

    /// The next record whose message holds `text`.
    fn about(&self, text: &str) -> anyhow::Result<Record> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let record = self.record()?;
            if record.get("MESSAGE").context("no message")?.contains(text) {
                return Ok(record);
            }
            ensure!(Instant::now() < deadline, "no record about {text}");
        }
    }
}

/// Reads a datagram in journald's native form.
fn decode(mut bytes: &[u8]) -> anyhow::Result<Record> {
    let mut record = Record::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').context("no line break")?;
        let line = std::str::from_utf8(&bytes[..end])?;
        let (name, value, rest) = match line.split_once('=') {
            Some((name, value)) => (name, value.to_owned(), &bytes[end + 1..]),
            None => {
                let (length, rest) = bytes[end + 1..].split_first_chunk::<8>().context("no length")?;
                let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length))?);
                (line, String::from_utf8(value.to_vec())?, &rest[1..])
            }
        };
        ensure!(record.insert(name.to_owned(), value).is_none(), "{name} comes twice");
        bytes = rest;
    }
    Ok(record)
}

fn stop(mut daemon: Child) -> anyhow::Result<()> {
    kill_process(Pid::from_child(&daemon), Signal::TERM)?;
    let status = wait(&mut daemon, LONGEST)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn records_come_with_priority_and_fields() -> anyhow::Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    let (stream, _far) = UnixStream::pair()?;
    let daemon = scene.daemon(stream.into(), None, &["--log", "debug"])?;
    let starting = scene.about("starting")?;
    let field = |record: &Record, name: &str| record.get(name).cloned().unwrap_or_default();
    assert_eq!(
        (field(&starting, "PRIORITY"), field(&starting, "SYSLOG_IDENTIFIER")),
        ("6".into(), "cardbrokerd".into())
    );
    assert_eq!(field(&starting, "CARDBROKER_BACKEND"), "simulated", "{starting:?}");
    assert!(field(&starting, "MESSAGE").starts_with("starting version="), "{starting:?}");
    scene.about("serving ")?;
    let denied = scene.cardbroker(STRANGER, &["transmit", "simulated-reader-00", "00A4040000D1A7C0FFEE"])?;
    assert_ne!(denied.code, Some(0), "{denied:?}");
    let record = scene.about("event=denied")?;
    assert_eq!(field(&record, "PRIORITY"), "4");
    assert_eq!(field(&record, "CARDBROKER_TARGET"), "cardbroker::audit");
    assert_eq!(field(&record, "CARDBROKER_EVENT"), "denied");
    assert_eq!(field(&record, "CARDBROKER_PRINCIPAL"), format!("user {STRANGER}"));
    assert_eq!(field(&record, "CARDBROKER_OPERATION"), "transmit");
    assert!(field(&record, "CARDBROKER_PID").parse::<u32>().is_ok(), "{record:?}");
    let sent = scene.cardbroker(0, &["transmit", "simulated-reader-00", "8014000004D1A7C0FE00", "--wait-for-card"])?;
    assert!(sent.code == Some(0) && sent.out.to_uppercase().contains("D1A7C0FE"), "{sent:?}");
    let unit = scene.about("unit done")?;
    assert_eq!((field(&unit, "PRIORITY"), field(&unit, "CARDBROKER_OUTCOME")), ("7".into(), "ok".into()));
    stop(daemon)?;
    loop {
        let record = scene.record()?;
        assert!(!format!("{record:?}").to_uppercase().contains("D1A7C0"), "{record:?}");
        if record["MESSAGE"] == "stopped" {
            return Ok(());
        }
    }
}

#[test]
fn another_stream_gets_lines_of_text_and_the_message_may_be_json() -> anyhow::Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    let path = scene.machine.path("/run/log");
    let daemon = scene.daemon(File::create(&path)?.into(), Some("1:1"), &[])?;
    let deadline = Instant::now() + LONGEST;
    while !fs::read_to_string(&path)?.contains("serving socket=") {
        ensure!(Instant::now() < deadline, "{}", fs::read_to_string(&path)?);
        sleep(Duration::from_millis(20));
    }
    stop(daemon)?;
    let (stream, _far) = UnixStream::pair()?;
    let daemon = scene.daemon(stream.into(), None, &["--log-format", "json"])?;
    let starting = scene.record()?;
    let message: serde_json::Value = serde_json::from_str(&starting["MESSAGE"])?;
    assert_eq!((&message["message"], &*starting["PRIORITY"]), (&"starting".into(), "6"));
    scene.about("serving")?;
    stop(daemon)
}

#[test]
fn a_journald_that_reads_nothing_blocks_nobody() -> anyhow::Result<()> {
    let Some(scene) = Scene::new()? else { return Ok(()) };
    let (stream, _far) = UnixStream::pair()?;
    let daemon = scene.daemon(stream.into(), None, &["--log", "trace,h2=trace"])?;
    scene.about("serving ")?;
    for _ in 0..30 {
        let listed = scene.cardbroker(0, &["readers"])?;
        assert_eq!(listed.code, Some(0), "{listed:?}");
    }
    let begin = Instant::now();
    stop(daemon)?;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    Ok(())
}
