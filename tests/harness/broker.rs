//! A broker for each test: the real `cardbrokerd` as a process, on a socket in a folder of its own.

use std::{
    fs,
    io::{self, Write},
    mem,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cardbroker_client::{Client, ConnectOptions, Endpoint};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    LONGEST,
    run::{self, Run, cardbroker},
    setup::token_file,
    windows,
};
pub use super::{
    builds::{program, released_daemon},
    setup::Setup,
};

/// The log counts as settled if it has not grown for this time: the broker writes a record shortly after its event.
const QUIET_TIME: Duration = Duration::from_millis(100);

/// A running broker. Dropping kills it; if the test is failing, its log is printed.
pub struct Broker {
    setup: Setup,
    process: Child,
}

impl Setup {
    /// Starts the broker and waits until it answers.
    ///
    /// # Errors
    /// The broker ends, or does not answer within 20 s; the error has its log.
    pub fn start(mut self) -> anyhow::Result<Broker> {
        let plain = if self.plain_tcp { "listen.tcp_plain = true\n" } else { "" };
        let mut text = format!("{plain}{}", self.configuration);
        if self.windows.is_some() {
            text = windows::configuration(&text);
        }
        fs::write(self.folder.path().join("cardbrokerd.toml"), text)?;
        let process = self.spawn()?;
        let mut broker = Broker { setup: self, process };
        broker.wait_until_ready()?;
        Ok(broker)
    }
}

impl Broker {
    /// The path of the broker's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.setup.socket()
    }

    /// The path of the door's socket, for programs with PC/SC.
    pub fn door(&self) -> PathBuf {
        self.setup.door_socket()
    }

    /// The broker's folder, with socket, configuration file and log.
    pub fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    /// The value of `CARDBROKER_ENDPOINT` for clients on the socket.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The value of `CARDBROKER_ENDPOINT` for clients on TCP; the log level must include `info`.
    ///
    /// # Errors
    /// The broker does not listen on TCP.
    pub fn tcp_endpoint(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let log = self.log();
            // In either form of a log line; the port is complete when another character follows it.
            let address = ["tcp=", "\"tcp\":\""].iter().find_map(|key| Some(log.rsplit_once(key)?.1));
            let address = address.and_then(|rest| rest.split_once(['\n', '"', ' ']));
            match address {
                Some((address, _)) => {
                    let scheme = if self.setup.plain_tcp { "http" } else { "https" };
                    return Ok(format!("{scheme}://{address}"));
                }
                None => ensure!(Instant::now() < deadline, "no TCP port: {log}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address that the broker listens on for TCP.
    ///
    /// # Errors
    /// The errors of [`Broker::tcp_endpoint`].
    pub fn tcp_address(&self) -> anyhow::Result<String> {
        let endpoint = self.tcp_endpoint()?;
        Ok(endpoint.split_once("://").context("no URL")?.1.to_owned())
    }

    /// The path of the file with the broker's private key and certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder().join("tls.pem")
    }

    /// The path of the file with the token called `name`.
    pub fn token_file(&self, name: &str) -> PathBuf {
        token_file(self.folder(), name)
    }

    /// A client on TCP with a connection of its own, and the token called `name`.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn tcp_client(&self, name: &str) -> anyhow::Result<Client> {
        let options = ConnectOptions { token_file: Some(self.token_file(name)), ..ConnectOptions::default() };
        Ok(Client::connect_with(self.tcp_endpoint()?.parse()?, options).await?)
    }

    /// A client with a connection of its own.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(Endpoint::Unix(self.socket())).await?)
    }

    /// The id of the broker's process.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        Pid::from_raw(i32::try_from(self.process.id())?).context("no process")
    }

    /// The log so far, as text.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        if self.setup.windows.is_some() { windows::without_noise(&log) } else { log }
    }

    /// The log so far, once it has not grown for a moment; after 5 s in any case.
    pub fn settled_log(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut log = self.log();
        loop {
            thread::sleep(QUIET_TIME);
            let earlier = mem::replace(&mut log, self.log());
            if earlier.len() == log.len() || Instant::now() > deadline {
                return log;
            }
        }
    }

    /// The Unix socket that the broker was started with; `None` if it has made its own.
    ///
    /// # Errors
    /// This process has no file descriptors left.
    pub fn inherited_socket(&self) -> io::Result<Option<OwnedFd>> {
        self.setup.inherited_socket()
    }

    /// Sends a signal to the broker's process. The broker for Windows gets what has the same effect.
    ///
    /// # Errors
    /// The broker has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match &self.setup.windows {
            // Its failure is in the log, too.
            Some(_) if signal == Signal::HUP => self.cardbroker(&["reload"]).map(drop),
            Some(_) => Ok(kill_process(self.pid()?, windows::signal(signal))?),
            None => Ok(kill_process(self.pid()?, signal)?),
        }
    }

    /// Waits until the broker has ended.
    ///
    /// # Errors
    /// The broker has not ended within 30 s.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let status = run::wait(&mut self.process, LONGEST).with_context(|| self.log())?;
        self.close_gate();
        Ok(status)
    }

    /// Kills the broker (SIGKILL), like a crash.
    ///
    /// # Errors
    /// An error of the operating system, on waiting for the process.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.close_gate();
        Ok(())
    }

    /// Starts the broker again after it has ended, with the same settings, and waits until it answers.
    ///
    /// # Errors
    /// The errors of [`Setup::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = self.setup.spawn()?;
        self.wait_until_ready()
    }

    /// Runs the command line with this broker to its end.
    ///
    /// # Errors
    /// The errors of [`run::run`].
    pub fn cardbroker(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        run::run(&mut cardbroker(&self.endpoint(), arguments)?)
    }

    /// Sends SIGTERM to the broker and waits until it has ended.
    ///
    /// # Errors
    /// The errors of [`Broker::wait`].
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST;
        while !self.is_ready()? {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("cardbrokerd did not start ({ended:?}): {}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let (socket, pid) = (self.socket(), self.pid()?);
        self.setup.windows.as_mut().map_or(Ok(()), |gate| gate.open(socket, pid))
    }

    fn is_ready(&self) -> anyhow::Result<bool> {
        match &self.setup.windows {
            Some(gate) => gate.is_served(),
            None => Ok(UnixStream::connect(self.socket()).is_ok()),
        }
    }

    /// Waits until the socket of a broker for Windows has gone with it.
    fn close_gate(&mut self) {
        if let Some(gate) = &mut self.setup.windows {
            gate.close();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() || std::env::var_os("BROKER_LOG").is_some() {
            let _ = writeln!(io::stderr(), "--- log of cardbrokerd ---\n{}", self.log());
        }
    }
}
