//! The stage of the cases: a real pcscd with a card in its first reader, a broker for it, and processes that use them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cardbroker_client::{Client, GROUP_VARIABLE, ReaderState};
use cardbroker_proto::ENDPOINT_VARIABLE;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    pcscd::Pcscd,
    programs::Program,
};
use tokio::time::timeout;

use crate::tcp::Tcp;

/// The broker's name of the reader.
pub(crate) const READER: &str = "readers/virtual-pcd-a-00-00";

/// The limit for everything that is not measured.
const LONG: Duration = Duration::from_secs(20);

/// A card in a reader. Dropping it removes the card and ends pcscd.
pub(crate) struct Stage {
    // Dropped before pcscd, so that the card is removed first.
    card: Option<Program>,
    pcscd: Arc<Pcscd>,
    command_ms: u64,
    reset_ms: u64,
}

impl Stage {
    /// Starts with a card whose commands and resets take so many milliseconds.
    pub(crate) fn new(command_ms: u64, reset_ms: u64) -> anyhow::Result<Self> {
        let pcscd = Arc::new(Pcscd::start(1)?);
        let mut stage = Self { card: None, pcscd, command_ms, reset_ms };
        stage.insert()?;
        Ok(stage)
    }

    /// Inserts a card. pcscd must have noticed the removal of the last one: it may not notice a swap at all.
    pub(crate) fn insert(&mut self) -> anyhow::Result<()> {
        let numbers = [self.pcscd.port(0).into(), self.command_ms, self.reset_ms].map(|number| number.to_string());
        let mut card = Program::spawn(worker(&["card"])?.args(numbers))?;
        ensure!(card.line()? == "inserted");
        self.card = Some(card);
        Ok(())
    }

    /// Removes the card from the reader.
    pub(crate) fn remove(&mut self) {
        self.card = None;
    }

    /// PC/SC's name of the reader.
    pub(crate) fn reader_name(&self) -> String {
        self.pcscd.reader_name(0)
    }

    /// The settings of a broker for the readers.
    pub(crate) fn setup(&self) -> anyhow::Result<Setup> {
        Setup::on(&self.pcscd)
    }

    /// The path of pcscd's socket.
    pub(crate) fn pcsc_socket(&self) -> PathBuf {
        self.pcscd.socket()
    }

    /// Starts a broker for the reader and waits until it serves; on TCP too if `tcp` is given.
    pub(crate) async fn broker(&self, tcp: Option<&Tcp>) -> anyhow::Result<Broker> {
        self.broker_with(&tcp.map(Tcp::configuration).unwrap_or_default()).await
    }

    /// Starts a broker with more configuration for the reader, and waits until it serves.
    pub(crate) async fn broker_with(&self, configuration: &str) -> anyhow::Result<Broker> {
        self.start(self.setup()?.configuration(configuration).log_level("info")).await
    }

    /// Starts a broker and waits until it serves.
    pub(crate) async fn start(&self, setup: Setup) -> anyhow::Result<Broker> {
        let broker = setup.start()?;
        until_ready(&broker.client().await?, READER).await?;
        Ok(broker)
    }

    /// Starts a process that uses PC/SC itself, and waits for its line `ready`.
    pub(crate) fn direct(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        behind(&self.pcscd.socket(), arguments)
    }
}

/// Starts a process that uses the PC/SC service at `socket`, and waits for its line `ready`.
pub(crate) fn behind(socket: &Path, arguments: &[&str]) -> anyhow::Result<Program> {
    ready(worker(arguments)?.env("PCSCLITE_CSOCK_NAME", socket))
}

/// A process's way to the broker: its variables of the environment.
#[derive(Clone, Default)]
pub(crate) struct Access(Vec<(&'static str, String)>);

impl Access {
    /// Access to a broker on its socket.
    pub(crate) fn unix(socket: &Path) -> Self {
        Self(vec![(ENDPOINT_VARIABLE, format!("unix:{}", socket.display()))])
    }

    /// Access as a member of this isolation group.
    pub(crate) fn in_group(self, group: &str) -> Self {
        self.with(GROUP_VARIABLE, group)
    }

    /// Access with one more variable of the environment.
    pub(crate) fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.0.push((variable, value.to_owned()));
        self
    }

    /// Starts a process that uses the broker, and waits for its line `ready`.
    pub(crate) fn client(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        ready(worker(arguments)?.envs(self.0.iter().cloned()))
    }
}

/// A command that runs this program as one of its own processes.
pub(crate) fn worker(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env_remove(GROUP_VARIABLE).arg("worker").args(arguments);
    Ok(command)
}

fn ready(command: &mut Command) -> anyhow::Result<Program> {
    let mut program = Program::spawn(command)?;
    let line = program.line()?;
    ensure!(line == "ready", "{line}");
    Ok(program)
}

/// Waits until the broker holds the card of a reader.
pub(crate) async fn until_ready(client: &Client, reader: &str) -> anyhow::Result<()> {
    let mut watch = client.watch();
    let wait = async {
        while watch.readers().get(reader).is_none_or(|reader| reader.state() != ReaderState::Ready) {
            watch.next().await;
        }
    };
    timeout(LONG, wait).await.context("the card does not become ready")
}

/// Gives a process an order; returns the times in its answer.
pub(crate) fn times(program: &mut Program, order: &str) -> anyhow::Result<Vec<i64>> {
    program.say(order)?;
    Ok(serde_json::from_str(&program.line()?)?)
}

/// The time in a line "WORD NS" that a process prints.
pub(crate) fn moment(program: &mut Program, word: &str) -> anyhow::Result<i64> {
    let line = program.line()?;
    let time = line.strip_prefix(word).with_context(|| format!("{word} expected, not {line}"))?;
    Ok(time.trim().parse()?)
}

/// Waits for an event that must come.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONG;
    while !done()? {
        if Instant::now() > deadline {
            bail!("{what}: not within {LONG:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
